"""What runs in a session: the door and the helpers for notebooks. Imports neither the spawner nor the link."""

__version__ = "0.1.0"
