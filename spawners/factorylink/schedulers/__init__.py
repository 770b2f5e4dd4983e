"""Dialects of schedulers: pure functions that make commands from requests, and models from output."""
