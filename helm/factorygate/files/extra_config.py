"""Adds the chart's values and two services to JupyterHub's configuration, and loads the operator's ``extra-*.py``.

The values are read from a YAML file, and the tokens of the two services from a Secret; this code contains neither.
"""

from pathlib import Path

import yaml

from factoryspawner.config import hub_config

SETTINGS = Path("/etc/factorygate-settings")
SECRETS = Path("/run/secrets/factorygate")

for section, settings in (yaml.safe_load((SETTINGS / "jupyterhub.yaml").read_text(encoding="utf-8")) or {}).items():
    c[section].update(settings)  # noqa: F821

for name, scopes in (("restore-routes", ["proxy"]), ("metrics", ["read:metrics"])):
    token = hub_config.read_secret(SECRETS / f"{name}-token")
    c.JupyterHub.services.append({"name": name, "api_token": token, "display": False})  # noqa: F821
    c.JupyterHub.load_roles.append({"name": name, "scopes": scopes, "services": [name]})  # noqa: F821

for path in sorted(SETTINGS.glob("extra-*.py")):
    load_subconfig(str(path))  # noqa: F821
