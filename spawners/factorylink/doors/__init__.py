"""The doors of live sessions: connections into jobs, and the loopback ports that lead to them."""
