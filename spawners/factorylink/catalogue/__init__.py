"""The catalogue of factories: loading, choosing from it, listing it, comparing it with a site."""
