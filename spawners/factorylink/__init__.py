"""The link: the daemon that holds all contact with the factories."""
