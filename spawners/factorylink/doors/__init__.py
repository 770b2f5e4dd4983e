"""The doors of live sessions: SSH connections into jobs, and the ports of the link that lead to them."""
