"""Dask clusters whose workers are jobs: notebooks request them, the link submits their jobs in batches and watches them
with all other jobs."""
