"""Work that no request starts: ending what people may no longer run, and starting servers again that the hub has
forgotten."""
