"""Login by OpenID Connect: providers, the meaning of their claims, and people's names."""
