"""The link's HTTP apps: for the hub, people's programs, running sessions, the workshops service, and Prometheus."""
