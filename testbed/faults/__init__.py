"""Causes faults at a factory by command, and undoes them."""
