"""The room of a workshop: shows the seats with their sessions as they change, and sends messages into the sessions.

The room also stops single seats (``service``), and starts, restarts and resets them (``acts``).
"""
