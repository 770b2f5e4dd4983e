"""Builds the container images of the gateway: what ``images/build`` runs."""
