"""Reads the operator's file of pools, and writes the table of projects, from which the link learns of the workshops."""
