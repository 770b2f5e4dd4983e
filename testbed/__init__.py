"""Runs real batch schedulers on this machine, set up as the catalogue describes them: see docs/testbed.md.

For Slurm, ``testbed.install.packages`` unpacks the programs into a folder, ``testbed.slurm.layout`` makes the
configuration from a factory, and ``testbed.slurm.cluster`` starts, adopts, repairs and stops the daemons.
``testbed.pbs`` runs an OpenPBS that is installed already.
"""
