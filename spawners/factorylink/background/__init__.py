"""Background work of the link.

The folder's modules end sessions and clusters of people who have lost access, make the hub start a server for each
session that has none, log in at factories before a workshop's seats start, and measure the delay of the event loop and
the GPU-hours of all projects for the metrics.
"""
