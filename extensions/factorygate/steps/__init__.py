"""Finds the steps of a workshop's material in a session, and stores which of them the session's person has done."""
