"""The two HTTP apps of the service: one for requests with people's hub tokens, one for hub and operator's command."""
