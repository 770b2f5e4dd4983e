"""The room of a workshop: its seats with their sessions, live, and messages into the sessions."""
