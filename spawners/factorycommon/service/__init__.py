"""Code that the link, the workshops service and the hub share: configuration, databases, servers, refusals, logs.

This code needs more than pydantic, so the notebook's side does not import it.
"""
