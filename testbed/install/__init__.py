"""Installs what the demo and the tests need into this checkout."""
