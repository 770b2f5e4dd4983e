"""The dialects of schedulers: pure functions that make commands, and parse the output of these commands."""
