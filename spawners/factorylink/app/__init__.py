"""The link as a process, and the one place where its parts are put together."""
