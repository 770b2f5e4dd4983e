"""Fetches the material of workshops from git repositories in a process of its own, and brings it into sessions."""
