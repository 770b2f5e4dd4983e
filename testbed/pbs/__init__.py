"""Real OpenPBS clusters on this machine, laid out as the catalogue says."""
