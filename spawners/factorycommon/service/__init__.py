"""What the processes of the gateway that serve HTTP share: configuration, databases, servers, refusals, logs.

The link and the workshops service use it. It needs more than pydantic, so the notebook's side does not import it.
"""
