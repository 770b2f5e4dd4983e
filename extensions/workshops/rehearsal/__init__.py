"""Rehearsals of a workshop at each of its places: dry, and with three real seats; signed, and void after a change."""
