"""The models of the service's API, and of its settings for joining and for material."""
