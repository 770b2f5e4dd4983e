"""Login by OpenID Connect: providers, what their claims mean here, and the names that people get."""
