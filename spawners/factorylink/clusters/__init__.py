"""Dask clusters whose workers are jobs: asked for by notebooks, submitted in batches, watched with everything else."""
