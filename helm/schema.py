"""Writes the schema of the chart's values: ``python helm/schema.py > helm/factorygate/values.schema.json``.

``values.schema.yaml`` is the hand-written part. Values that hub, link and workshops service read unchanged are
described by these programs' own models, so that the chart accepts exactly the values that the programs accept. No
value is the name of a file, because the chart mounts the files and sets their names itself.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from factorycommon.models import Antennas, Factory, Planned, Project
from factorycommon.models.workshops import WorkshopPool
from factorylink.config import Access, Limits, Mail
from factoryspawner.config.login_settings import LoginSettings
from workshops.config import Trainers, WorkshopLimits
from workshops.models.joining import JoiningSettings
from workshops.models.material import MaterialSettings

_FOLDER = Path(__file__).parent
_MODELS: Mapping[str, Any] = {
    "Access": Access,
    "Antennas": Antennas,
    "CatalogueEntry": Factory | Planned,
    "JoiningSettings": JoiningSettings,
    "Limits": Limits,
    "LoginSettings": LoginSettings,
    "Mail": Mail,
    "MaterialSettings": MaterialSettings,
    "Project": Project,
    "Trainers": Trainers,
    "WorkshopLimits": WorkshopLimits,
    "WorkshopPool": WorkshopPool,
}
_LEFT_OUT = {  # fields of models that the chart fills in, or that no pod has
    "LoginSettings": ("people_file", "crypt_key_file"),
    "Provider": ("client_secret_file",),
    "KeyCredentials": ("keys",),
    "CaCredentials": ("key",),
    "WrapperCredentials": ("key",),
    "EfpCredentials": ("watcher_key",),
    "JoiningSettings": ("folder",),
    "DeployToken": ("file",),
    "MaterialSettings": ("ca_file",),
    "SmtpServer": ("password_file",),
}
_SAYS_NOTHING = ("default", "title", "discriminator", "description")


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the values."""
    document: dict[str, Any] = yaml.safe_load((_FOLDER / "values.schema.yaml").read_text(encoding="utf-8"))
    definitions: dict[str, Any] = document["definitions"]
    for name, model in _MODELS.items():
        made = TypeAdapter(model).json_schema(ref_template="#/definitions/{model}")
        definitions |= {key: _plain(key, value) for key, value in made.pop("$defs", {}).items()}
        definitions[name] = _plain(name, made)
    # A pod has no scheduler of its own, so only a login side over SSH makes sense.
    access = definitions["Access"]
    access["properties"]["transport"] = {"$ref": "#/definitions/SshTransportSettings"}
    access.setdefault("required", []).append("transport")
    definitions.pop("LocalTransportSettings")
    found: dict[str, Any] = _with_models(document)
    return found


def _plain(name: str, value: Any) -> Any:
    """Return a part of a model's schema, in the draft of JSON Schema that all releases of Helm support.

    ``name``: the model's name, "" for an inner part; ``value``: the part. The result lacks the model's fields in
    ``_LEFT_OUT``, and defaults, titles and descriptions.
    """
    if isinstance(value, list):
        return [_plain("", one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {key: _plain("", one) for key, one in value.items() if key not in _SAYS_NOTHING or isinstance(one, dict)}
    found.pop("discriminator", None)
    if "patternProperties" in found:
        found["additionalProperties"] = False
    if "prefixItems" in found:
        found["items"] = found.pop("prefixItems")
    if left_out := _LEFT_OUT.get(name):
        found["properties"] = {key: one for key, one in found["properties"].items() if key not in left_out}
        found["required"] = [key for key in found.get("required", ()) if key not in left_out]
        if not found["required"]:
            del found["required"]
    return found


def _with_models(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_models(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "$model" in value:
        return {"$ref": f"#/definitions/{value['$model']}"}
    return {key: _with_models(one) for key, one in value.items()}


if __name__ == "__main__":
    json.dump(schema(), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
