"""The two HTTP apps of the service: one for people's tokens, one for the hub and the operator's command."""
