"""The benchmarks, which measure each claim about speed beside another program in the same run.

``bin/bench NAME`` runs one benchmark.
"""
