"""One factory as the link knows it: a dialect joined to a transport, polled at a fair rate."""
