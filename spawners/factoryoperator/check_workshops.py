"""Checks workshops.yaml, its database, what must agree with hub and link, and the pools.

A pool is what the operator lets workshops use at a factory: node sizes, seats, GPU-hours (``workshop-pools.yaml``).
"""

from __future__ import annotations

import hmac
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.exc import SQLAlchemyError

from factorycommon.private_files import open_to_others
from factorycommon.service.yaml_file import CatalogueError
from factorylink.catalogue import catalogue as federation
from factorylink.projects import book, workshop_table
from factoryoperator.findings import Finding, note, of_lines
from factoryoperator.gateway import Gateway
from workshops.config import WorkshopsConfig
from workshops.store import migrations

_UNREADABLE = (
    "this release's link cannot read this, and uses the last table that it could read: classes go on, and nothing of "
    "them changes. Install the same release for the link and for the workshops service"
)


def workshops_file(gateway: Gateway) -> Iterator[Finding]:
    """Yield what is wrong in workshops.yaml, or with its secrets and database.

    Also yield where hub.yaml or link.yaml does not agree with workshops.yaml. If workshops.yaml is missing although
    hub.yaml or link.yaml has the section ``workshops``, there is a hint only.
    """
    side, hub, link = gateway.workshops, gateway.hub, gateway.link
    yield from of_lines(side.problems)
    for other, name in ((hub, "hub.yaml"), (link, "link.yaml")):
        wants = other.config is not None and other.config.workshops is not None
        if side.config is not None and other.config is not None and not wants:
            yield Finding(str(other.path), f"lacks 'workshops', so the {name[:-5]} knows nothing of {side.path}")
        if side.config is None and not side.problems and wants:
            yield note(other.at("workshops"), f"{side.path} is not there, so the service is not looked at")
    if side.config is not None:
        yield from _token(gateway, side.config)
        yield from _agree(gateway, side.config)
        yield from _secrets(gateway, side.config)
        yield from _database(gateway, side.config)


def pools(gateway: Gateway) -> Iterator[Finding]:
    """Yield what is wrong with the pools, and with the table of projects that the workshops service writes.

    The pools, which say what workshops may use, must agree with the catalogue and link.yaml. If this release's link
    cannot read the table, there is a hint only. The operator's own file of projects must have no project whose id
    begins like the ids of workshops' projects.
    """
    config = gateway.link.config
    if config is None or config.workshops is None:
        return
    try:
        known = federation.load(config.catalogue).factories
    except CatalogueError:  # reported by the check of the catalogue
        return
    try:
        workshop_table.read_pools(config.workshops.pools, known, config.factories)
    except CatalogueError as error:
        yield from of_lines(error.problems)
    try:
        workshop_table.read_table(config.workshops.table)
    except CatalogueError as error:
        # no mistake in the configuration, which would prevent an upgrade: the service writes the table when it starts
        for found in of_lines(error.problems):
            yield note(found.where, f"{found.said}: {_UNREADABLE}")
    if config.projects is None:
        return
    try:
        book.load(config.projects, known, config.factories)
    except CatalogueError:  # reported by the check of the projects
        return
    try:
        book.load(config.projects, known, config.factories, workshop_table.reserved)
    except CatalogueError as error:
        yield from of_lines(error.problems)


def _token(gateway: Gateway, config: WorkshopsConfig) -> Iterator[Finding]:
    where, file = gateway.workshops.at("hub", "token_file"), config.hub.token_file
    try:
        mode, text = file.stat(), file.read_bytes().strip()
    except OSError as error:
        yield Finding(where, f"{file}: {error.strerror}")
        return
    if open_to_others(mode):
        yield Finding(where, f"{file}: must be 0600: run chmod 600 {file}")
    hub = gateway.hub.config
    if hub is None or hub.workshops is None:
        return
    try:
        theirs = hub.workshops.token_file.read_bytes().strip()
    except OSError:  # reported by the check of the hub's secrets
        return
    if not hmac.compare_digest(text, theirs):
        key = gateway.hub.at("workshops", "token_file")
        yield Finding(where, f"the token differs from that of {key}: the hub would refuse the service")


def _secrets(gateway: Gateway, config: WorkshopsConfig) -> Iterator[Finding]:
    """Yield what is wrong with the files with secrets that workshops.yaml names, and a hint if git is not installed.

    These files have the mail server's password and the tokens for git repositories, from which git fetches the
    material. The CA file for these repositories must exist, too.
    """
    at = gateway.workshops.at
    if config.joining.smtp is not None and config.joining.smtp.password_file is not None:
        yield from _secret(at("joining", "smtp", "password_file"), config.joining.smtp.password_file)
    for number, token in enumerate(config.material.tokens):
        yield from _secret(at("material", "tokens", number, "file"), token.file)
    if (certificates := config.material.ca_file) is not None and not certificates.is_file():
        yield Finding(at("material", "ca_file"), f"{certificates}: there is no such file")
    if shutil.which("git") is None:
        yield note(str(gateway.workshops.path), "git is not installed here: workshops can have no material")


def _secret(where: str, file: Path) -> Iterator[Finding]:
    try:
        if open_to_others(file.stat()):
            yield Finding(where, f"{file}: must be 0600: run chmod 600 {file}")
        elif not file.read_text(encoding="utf-8").strip():
            yield Finding(where, f"{file}: is empty")
    except (OSError, UnicodeDecodeError) as error:
        yield Finding(where, f"{file}: {getattr(error, 'strerror', None) or 'is no text'}")


def _agree(gateway: Gateway, config: WorkshopsConfig) -> Iterator[Finding]:
    """Yield a finding for each value that differs between workshops.yaml, hub.yaml and link.yaml, but must not."""
    at, hub, link = gateway.workshops.at, gateway.hub, gateway.link
    if hub.config is not None and hub.config.workshops is not None:
        theirs = hub.config.workshops
        scheme = "http" if config.tls is None else "https"
        listens = f"{scheme}://{config.listen_host}:{config.listen_port}"
        if theirs.hub_api_url is None:
            yield from _same(at("socket"), config.socket, hub.at("workshops", "socket"), theirs.socket)
        else:
            yield from _listener(gateway, config, theirs.hub_api_url)
        if config.tls is None:
            yield from _same(at("listen_port"), listens, hub.at("workshops", "url"), theirs.url)
        yield from _same(at("hub", "base_url"), config.hub.base_url, hub.at("base_url"), hub.config.base_url)
        yield from _same(at("hub", "url"), config.hub.url.rstrip("/"), hub.at("hub_url"), hub.config.hub_url)
        public = config.hub.public_url.rstrip("/")
        yield from _same(at("hub", "public_url"), public, hub.at("public_url"), hub.config.public_url)
    if link.config is not None and link.config.workshops is not None:
        files = link.config.workshops
        yield from _same(at("table"), config.table, link.at("workshops", "table"), files.table)
        yield from _same(at("pools"), config.pools, link.at("workshops", "pools"), files.pools)
        ours = None if config.link is None else config.link.socket
        yield from _same(at("link", "socket"), ours, link.at("workshops", "socket"), files.socket)


def _listener(gateway: Gateway, config: WorkshopsConfig, url: str) -> Iterator[Finding]:
    """Yield a finding unless the service's ``hub_listener`` has the port of ``url``, the ``hub_api_url`` in hub.yaml.

    The hub uses this URL if the service is on another host.
    """
    here, own = gateway.hub.at("workshops", "hub_api_url"), config.hub_listener
    if own is None:
        yield Finding(here, f"is {url}, but {gateway.workshops.path} has no hub_listener: the service listens nowhere")
    elif urlsplit(url).port != own.port:
        yield Finding(here, f"is {url}, but {gateway.workshops.at('hub_listener', 'port')} is {own.port}")


def _same(where: str, ours: Any, there: str, theirs: Any) -> Iterator[Finding]:
    if isinstance(ours, Path) and isinstance(theirs, Path):
        ours, theirs = ours.resolve(), theirs.resolve()
    if ours != theirs:
        yield Finding(where, f"is {ours}, but {there} is {theirs}")


def _database(gateway: Gateway, config: WorkshopsConfig) -> Iterator[Finding]:
    where = gateway.workshops.at("state_dir" if config.database is None else "database")
    if not config.store.exists():
        yield note(where, f"{config.store} is not there yet; the service makes it at its first start")
        return
    try:
        engine = config.store.engine()
    except OSError as error:
        yield Finding(where, f"{config.store} cannot be opened: {error}")
        return
    try:
        with engine.connect() as db:
            step = migrations.is_at(db)
    except (SQLAlchemyError, migrations.NewerStore) as error:
        yield Finding(where, f"{config.store}: {' '.join(str(error).split())[:500]}")
        return
    finally:
        engine.dispose()
    if step != migrations.head():
        yield note(where, f"{config.store} is of an earlier release; the service brings it up when it starts")
