"""Login by OpenID Connect: providers, the evaluation of their claims, and people's names."""
