"""The two HTTP apps of the service: one for requests with people's hub tokens, one for requests without a token.

The second app is for the hub and for the operator's command ``factorygate``.
"""
