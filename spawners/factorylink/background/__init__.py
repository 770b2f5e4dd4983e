"""Work that nobody asked for: ending what somebody may no longer run, and telling a hub what it forgot."""
