"""The room of a workshop: shows the seats with their sessions as they change, and sends messages into the sessions.

It also starts, restarts, resets and stops single seats.
"""
