"""How the link logs in at a factory's login side: one interface, a kind per way that sites offer."""
