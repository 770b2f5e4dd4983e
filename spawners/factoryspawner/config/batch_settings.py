"""Refuses batchspawner's settings that would have no effect on the job; turns other settings into job options."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from factorycommon.models import JobOptions
from factoryspawner.config.errors import ConfigurationError

_BY_THE_LINK = "the link talks to the schedulers; the hub runs no command"
_BY_THE_SIZE = "the node size in the catalogue says it"
_BY_THE_DOOR = "the environment reaches the notebook through the door"
REFUSED: Mapping[str, str] = {
    "exec_prefix": _BY_THE_LINK,
    "batch_submit_cmd": _BY_THE_LINK,
    "batch_query_cmd": _BY_THE_LINK,
    "batch_cancel_cmd": _BY_THE_LINK,
    "batchspawner_singleuser_cmd": _BY_THE_LINK,
    "req_host": _BY_THE_LINK,
    "req_username": "site accounts are named in the link's configuration",
    "req_homedir": "the catalogue's notebook_folder says it",
    "req_memory": _BY_THE_SIZE,
    "req_nprocs": _BY_THE_SIZE,
    "req_ngpus": _BY_THE_SIZE,
    "req_runtime": "the person picks the hours",
    "req_options": "use req_constraint, req_reservation, req_gres, or a batch_script",
    "req_keepvars": _BY_THE_DOOR,
    "req_keepvars_extra": _BY_THE_DOOR,
}

# The field of JobOptions for each setting. If two settings are for the same field, the first one that is set counts.
_FEEDS = (
    ("req_account", "account"),
    ("req_qos", "qos"),
    ("req_partition", "partition"),
    ("req_queue", "partition"),
    ("req_constraint", "constraint"),
    ("req_reservation", "reservation"),
    ("req_gres", "gres"),
    ("req_prologue", "prologue"),
    ("req_epilogue", "epilogue"),
    ("batch_script", "template"),
)


# sections with the spawner's settings, the most specific last
SECTIONS = ("Spawner", "BatchSpawnerBase", "BatchspawnerFace", "FactorySpawner")


class SettingsError(ConfigurationError, ValueError):
    """Raised if the operator's configuration of the spawner cannot be used; the message names the setting."""


def check_settings(names: Mapping[str, object], section: str) -> None:
    """Raise SettingsError if ``names`` includes a setting of ``REFUSED``, which would have no effect on the job.

    ``names``: the settings that the operator has made in ``section``, such as ``FactorySpawner``
    (``c.FactorySpawner.NAME``).
    """
    for name, why in REFUSED.items():
        if name in names:
            raise SettingsError(f"c.{section}.{name} has no meaning here: {why}")


def check_all(config: Mapping[str, Mapping[str, object]]) -> None:
    """Raise SettingsError if the operator has made a setting of the spawner that is in ``REFUSED``.

    Such a setting would have no effect on the job. ``config``: JupyterHub's settings, by section; only the sections in
    ``SECTIONS`` are checked.
    """
    for section in SECTIONS:
        check_settings(config.get(section, {}), section)


def job_options(settings: Mapping[str, str]) -> JobOptions:
    """Return the job options made from ``req_*`` and ``batch_script``.

    ``settings``: the texts of the settings by name; an empty text, or a setting that is not in ``FEEDING``, is ignored.
    If ``req_partition`` and ``req_queue`` are both set, ``req_partition`` counts. Raises SettingsError if a value is
    not valid, for example if ``req_account`` is more than a single word.
    """
    fields: dict[str, str] = {}
    for setting, field in _FEEDS:
        if settings.get(setting):
            fields.setdefault(field, settings[setting])
    try:
        return JobOptions.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0])
        setting = next(setting for setting, feeds in _FEEDS if feeds == field and settings.get(setting))
        raise SettingsError(f"c.FactorySpawner.{setting}: {first['input']!r}: {first['msg']}") from error


FEEDING = tuple(setting for setting, _ in _FEEDS)
