"""The Slurm dialect: makes the commands and the batch script for Slurm, and parses Slurm's output."""
