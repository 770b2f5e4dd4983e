# ruff: noqa: F821, D100
# A server is a session at a factory; the time in the queue has no limit.
from factoryspawner import refused_names
from factoryspawner.config import hub_config, token_hashes

config = hub_config.loaded()
token_hashes.hash_random_secrets_once()

c.JupyterHub.spawner_class = "factoryspawner.spawner.FactorySpawner"
c.FactorySpawner.link_at = config.link_at
c.FactorySpawner.gateway_url = config.public_url
c.JupyterHub.allow_named_servers = True
c.JupyterHub.named_server_limit_per_user = refused_names.limit(config.named_servers)
c.JupyterHub.concurrent_spawn_limit = 0
c.JupyterHub.init_spawners_timeout = 1
# seconds; a POST that starts a server is answered within 2 s
c.JupyterHub.tornado_settings.update({"slow_spawn_timeout": 1.5})
c.Spawner.consecutive_failure_limit = 0
c.Spawner.default_url = "/lab"
