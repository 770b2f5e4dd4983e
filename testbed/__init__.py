"""Real clusters on this machine, laid out as the catalogue says: see docs/testbed.md.

``testbed.packages`` unpacks Slurm into a folder, ``testbed.layout`` writes its configuration from a factory,
``testbed.cluster`` starts, adopts, repairs and stops the daemons.
"""
