"""The doors of live sessions: SSH connections into jobs, and the loopback ports that lead to them."""
