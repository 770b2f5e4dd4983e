"""Installs the programs that the demo and the tests need into this checkout."""
