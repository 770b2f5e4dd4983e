"""The benchmarks. Each claim about speed is measured beside another program in the same run; ``bin/bench NAME`` runs
one benchmark."""
