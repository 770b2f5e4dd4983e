"""The life of a session: admission, submission, reports of factories and doors, and the end."""
