"""Dask clusters whose workers are jobs.

Notebooks request clusters; the link submits the clusters' jobs in batches, and follows these jobs like all others.
"""
