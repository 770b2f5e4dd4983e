"""The operator's command that tests all steps of a session at a factory."""
