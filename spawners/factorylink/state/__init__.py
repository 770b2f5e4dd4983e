"""Live sessions and clusters in memory, and how the APIs show them."""
