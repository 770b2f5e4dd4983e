"""JSON and server-sent events for the gateway's pages, under ``/hub/gateway/api/``."""
