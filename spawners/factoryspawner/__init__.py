"""The part in the hub process: a spawner whose servers are batch jobs that the link holds."""
