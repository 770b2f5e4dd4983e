"""Live sessions and clusters in memory, and their views for the APIs."""
