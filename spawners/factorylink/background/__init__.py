"""Background work of the link.

The folder's modules end sessions and clusters of people who have lost access, start servers that the hub does not have,
open connections before a workshop's seats start, and measure what Prometheus cannot wait for.
"""
