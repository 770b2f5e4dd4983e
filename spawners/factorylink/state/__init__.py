"""Live sessions and clusters in memory, and how they look from outside."""
