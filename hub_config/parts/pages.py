# ruff: noqa: F821, D100
# Our pages, and their way to the link.
from pathlib import Path

from factoryspawner import checklist, handlers, hubconfig, jinja, project_page

config = hubconfig.loaded()
pages = config.pages or Path(__file__).parents[1]

c.JupyterHub.template_paths = [str(pages / "templates")]
c.JupyterHub.jinja_environment_options = {"extensions": [jinja.translation(pages / "locale")]}
c.JupyterHub.extra_handlers = [
    *handlers.routes(config.link_socket, pages),
    *project_page.routes(config.link_socket, pages),
    *checklist.routes(config.link_socket, pages),
]
