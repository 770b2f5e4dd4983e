"""The connection check: a page on which anybody tests their browser and network before a class."""
