"""``bin/demo``: the whole gateway on this machine."""
