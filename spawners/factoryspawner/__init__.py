"""The gateway's part in the hub's process: a spawner whose servers are batch jobs that the link manages."""
