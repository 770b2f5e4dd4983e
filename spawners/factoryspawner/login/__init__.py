"""Logins by OpenID Connect, by password, and as a guest of a workshop; people's names at this hub."""
