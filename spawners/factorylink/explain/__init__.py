"""Explains in plain words what schedulers, doors and the gateway report."""
