"""Code that link, workshops service, hub and the operators' commands share: configuration, databases, servers, logs.

This code needs more than pydantic, so the notebook's side does not import it.
"""
