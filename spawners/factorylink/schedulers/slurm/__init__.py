"""The Slurm dialect."""
