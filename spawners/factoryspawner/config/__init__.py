"""The operator's configuration of the hub, checked: ``hub.yaml``, and batchspawner's settings."""
