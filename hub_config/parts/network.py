# ruff: noqa: F821, D100
# The addresses of proxy, hub and database. The proxy is a separate process, so that a restart of the hub interrupts
# nobody.
from factoryspawner import logs
from factoryspawner.config import hub_config, hub_database, hub_network, hub_sqlite, subdomains

config = hub_config.loaded()
hub_config.keep_private(config.database)
hub_database.upgrade(config.database)  # raises an error with an explanation if a newer release made the database

c.JupyterHub.bind_url = config.public_url + config.base_url
if config.subdomain_host is not None:
    c.JupyterHub.subdomain_host = config.subdomain_host
    c.JupyterHub.subdomain_hook = subdomains.domain_of
    subdomains.redirect_to_the_hub(config.public_url)
c.JupyterHub.hub_bind_url = config.hub_bind_url or config.hub_url
c.JupyterHub.hub_connect_url = config.hub_url
c.JupyterHub.proxy_class = "configurable-http-proxy"
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = config.proxy_api_url
c.ConfigurableHTTPProxy.auth_token = hub_config.read_secret(config.proxy_token_file)
c.JupyterHub.cleanup_proxy = False
c.JupyterHub.cleanup_servers = False
c.JupyterHub.db_url = config.database
c.JupyterHub.db_kwargs = hub_sqlite.engine_options(config.database)
hub_sqlite.ping_no_files()
c.JupyterHub.cookie_secret_file = str(config.cookie_secret_file)
c.JupyterHub.last_activity_interval = 60
# By default the hub wakes twenty times a second to measure its event loop's delay.
c.PeriodicMetricsCollector.event_loop_interval_resolution = 0.25
c.JupyterHub.logging_config = logs.logging_config(config.log_format)
# Limits for every request to the hub, whose body is read before its sender is known. Requests to notebooks do not pass
# through the hub.
hub_network.configure_server(config.tls, hub_config.MOST_BYTES)
# Timeouts of the hub's requests to the proxy, the link and notebooks.
c.JupyterHubHTTPClient.connector_options = hub_network.connector_options(config.tls)
