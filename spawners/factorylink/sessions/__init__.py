"""The life of a session: admission, submission, updates from factories and doors, and the end."""
