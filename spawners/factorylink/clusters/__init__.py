"""Dask clusters whose workers are jobs.

Notebooks request clusters; the link submits their jobs in batches, and follows these like all other jobs.
"""
