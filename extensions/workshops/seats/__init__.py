"""Begins the seats of workshops in waves, before the class and for those who join late."""
