# ruff: noqa: F821, D100
# Our pages, and their way to the link.
from pathlib import Path

from factoryspawner import gateway, routes
from factoryspawner.config import hub_config
from factoryspawner.pages import jinja

config = hub_config.loaded()
pages = config.pages or Path(__file__).parents[1]

c.JupyterHub.template_paths = [str(pages / "templates")]
c.JupyterHub.jinja_environment_options = {
    "extensions": [jinja.translation(pages / "locale", gateway.banner_of(config.link_at))]
}
c.JupyterHub.extra_handlers = routes.routes(config.link_at, pages)
c.JupyterHub.tornado_settings.update(
    {
        # A browser that kept a page would show it to whoever comes after, with the button Back.
        "headers": {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"},
        # Said here, since the hub hears of the proxy's http only: the last of several in X-Forwarded-Proto.
        "cookie_options": {"samesite": "Lax"} | ({"secure": True} if config.public_url.startswith("https:") else {}),
    }
)
