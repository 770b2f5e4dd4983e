"""The room of a workshop: shows the seats with their sessions as they change, and sends messages into the sessions.

Single seats are stopped, too (``service``), or started, restarted and reset (``acts``).
"""
