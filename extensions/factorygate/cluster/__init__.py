"""Dask clusters whose workers are jobs at a factory, requested through the gateway's link."""
