"""Rehearsals of a workshop at each of its places: without seats, with three real seats, or with robots on all seats.

A place is one of the workshop's factories, with the node size and the environment that a seat gets there.
"""
