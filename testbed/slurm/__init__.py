"""Real Slurm clusters on this machine, set up as the catalogue describes them."""
