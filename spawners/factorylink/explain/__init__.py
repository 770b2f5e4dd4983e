"""Explanations in a person's words of what schedulers, doors and the gateway say."""
