"""Rehearsals of a workshop at each of its places: without seats, with three real seats, or with robots on all seats."""
