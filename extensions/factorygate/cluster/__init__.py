"""Dask clusters whose workers are jobs at a factory, asked for through the gateway's link."""
