"""Small tools that know nothing of sessions, factories or the hub."""
