"""The format of a workshop's material, and the rules for its names. Standard library only, since jobs read it."""
