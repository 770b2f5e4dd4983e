"""The room of a workshop: shows the seats with their sessions as they change, and sends messages into the sessions.

Other modules of this folder start, restart, reset and stop single seats.
"""
