"""The link's HTTP interfaces: for the hub, for people's scripts and notebooks, and for requests from inside a
session."""
