"""Ways to reach the login side of a factory."""
