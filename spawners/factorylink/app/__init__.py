"""The link's process, and the one module that puts its parts together."""
