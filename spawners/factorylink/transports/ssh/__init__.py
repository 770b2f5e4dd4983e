"""The SSH transport, for a factory whose login side is another machine."""
