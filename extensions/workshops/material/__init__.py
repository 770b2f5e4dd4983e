"""The material of workshops: fetched from git repositories by a process of its own, and brought into sessions."""
