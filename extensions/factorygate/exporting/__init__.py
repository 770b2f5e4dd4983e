"""Exports a person's folder as a zip, made while it is sent: nothing is written to the disk, which may be full."""
