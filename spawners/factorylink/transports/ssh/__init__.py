"""The SSH transport: the factory's login side is another machine."""
