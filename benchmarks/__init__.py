"""Every claim of speed, measured beside the peer in one run. ``bin/bench NAME`` runs one of them."""
