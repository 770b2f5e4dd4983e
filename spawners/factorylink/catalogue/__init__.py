"""The catalogue of factories: loads it, resolves choices from it, lists it, and compares it with a site."""
