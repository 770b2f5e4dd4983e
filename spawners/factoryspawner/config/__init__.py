"""The operator's configuration of the hub: ``hub.yaml`` and batchspawner's settings.

The modules read and check the configuration, migrate the hub's database before JupyterHub opens it, and change how
JupyterHub uses SQLite, TLS, subdomains and the hashes of tokens.
"""
