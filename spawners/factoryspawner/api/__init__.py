"""JSON and server-sent events for our pages, under ``/hub/gateway/api/``."""
