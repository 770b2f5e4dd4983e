"""What an operator writes for the hub, checked: ``hub.yaml``, and batchspawner's settings."""
