"""The link: the daemon through which the gateway reaches the factories."""
