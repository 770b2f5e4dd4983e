"""Joining a workshop: join codes, one-time codes by mail, seats and the waiting list, lists of people as CSV."""
