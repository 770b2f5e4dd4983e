"""Background work of the link.

It ends sessions and clusters of people who have lost access, and starts servers again that the hub has forgotten.
"""
