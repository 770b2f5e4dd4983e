"""Faults at a factory, by command, each with its undo."""
