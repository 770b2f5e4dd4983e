"""Utilities that do not depend on sessions, factories or the hub."""
