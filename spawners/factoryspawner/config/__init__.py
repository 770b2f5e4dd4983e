"""Reads and checks the operator's configuration of the hub: ``hub.yaml``, and batchspawner's settings."""
