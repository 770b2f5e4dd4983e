# ruff: noqa: F821, D100
# The gateway's pages, and the routes that connect them to the link.
from pathlib import Path

from factoryspawner import gateway, routes
from factoryspawner.config import hub_config
from factoryspawner.pages import jinja

config = hub_config.loaded()
pages = config.pages or Path(__file__).parents[1]

c.JupyterHub.template_paths = [str(pages / "templates")]
c.JupyterHub.jinja_environment_options = {
    "extensions": [jinja.translation(pages / "locale", gateway.banner_of(config.link_at), config.workshops is not None)]
}
guests = config.guests_at is not None
c.JupyterHub.extra_handlers = routes.routes(config.link_at, pages, config.workshops_at, guests)
c.JupyterHub.tornado_settings.update(
    {
        # Without this, the browser's Back button would show a person's page to the next person at the same browser.
        "headers": {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"},
        # Set here, since the hub sees only the proxy's http: the last of several values in X-Forwarded-Proto.
        "cookie_options": {"samesite": "Lax"} | ({"secure": True} if config.public_url.startswith("https:") else {}),
    }
)
