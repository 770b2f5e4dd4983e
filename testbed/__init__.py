"""Runs real batch schedulers on this machine, set up as the catalogue describes them: see docs/testbed.md.

``testbed.install.packages`` unpacks Slurm into a folder, ``testbed.slurm.layout`` writes its configuration from a
factory, ``testbed.slurm.cluster`` starts, adopts, repairs and stops the daemons.
"""
