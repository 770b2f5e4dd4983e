"""The link's connection to one factory: a dialect joined to a transport, polled at a limited rate."""
