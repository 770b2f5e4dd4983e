"""Real OpenPBS clusters on this machine, set up as the catalogue describes them."""
