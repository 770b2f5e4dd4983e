"""The life of a session: admission, submission, what factories and doors say of it, its end."""
