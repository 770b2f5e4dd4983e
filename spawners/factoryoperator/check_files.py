"""Checks the content of hub.yaml, link.yaml, the catalogue, the projects, the operator's own files and the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from factorycommon.models import Antennas, Factory, Slug
from factorycommon.service.database import Database
from factorycommon.service.yaml_file import CatalogueError, Places, read_model
from factorylink.catalogue import catalogue as federation
from factorylink.catalogue.loading import offered
from factorylink.config import LinkConfig
from factorylink.ledger import migrations
from factorylink.projects import book
from factorylink.site.connecting import make_connections
from factoryoperator.findings import Finding, note, of_lines
from factoryoperator.gateway import Gateway, Side
from factoryspawner.config.hub_config import HubConfig

ANTENNAS = "antennas.yaml"


def hub_file(gateway: Gateway) -> Iterator[Finding]:
    """Yield what is wrong in hub.yaml, and with the operator's own files and folders that hub.yaml names."""
    yield from of_lines(gateway.hub.problems)
    config, at = gateway.hub.config, gateway.hub.at
    if config is None:
        return
    if config.extra_config is not None:
        try:
            compile(config.extra_config.read_text(encoding="utf-8"), str(config.extra_config), "exec")
        except (OSError, UnicodeDecodeError) as error:
            yield Finding(at("extra_config"), f"{config.extra_config} cannot be read: {error}")
        except SyntaxError as error:
            yield Finding(f"{config.extra_config}:{error.lineno}", f"is not Python: {error.msg}")
    if config.pages is not None and not (config.pages / "templates").is_dir():
        yield Finding(at("pages"), f"{config.pages} has no folder 'templates'")
    if config.catalogue is not None:
        yield from _antennas(config, config.catalogue, at("catalogue"))
    if config.login is None and config.passwords_file is None and config.extra_config is None:
        yield Finding(
            f"{gateway.hub.path}:1: login",
            "nobody can log in: give login, passwords_file, or an extra_config that sets an authenticator",
        )
    yield from _kept_in(gateway.hub)


def _antennas(config: HubConfig, folder: Path, where: str) -> Iterator[Finding]:
    """Yield what is wrong with the antennas that the login page offers; ``folder``: the catalogue of hub.yaml.

    ``where``: the file, line and key that name the catalogue.
    """
    if not folder.is_dir():
        yield Finding(where, f"{folder} is no folder; it is the `catalogue` of link.yaml")
        return
    beside = config.antennas_file(Path(ANTENNAS))
    if beside is None:
        yield note(where, f"there is no {ANTENNAS} beside {folder}, so the login page offers no antennas")
        return
    try:
        read_model(beside, Antennas)
    except CatalogueError as error:
        yield from of_lines(error.problems)


def _kept_in(side: Side[HubConfig]) -> Iterator[Finding]:
    """Yield a finding for each missing folder in which the hub would make a file at its first start."""
    config = side.config
    if config is None:
        return
    kept: dict[tuple[str, ...], Path | None] = {
        ("db_file",): config.db_file,
        ("cookie_secret_file",): config.cookie_secret_file,
    }
    if config.login is not None:
        kept[("login", "people_file")] = config.login.people_file
    for keys, path in kept.items():
        if path is not None and not path.parent.is_dir():
            yield Finding(side.at(*keys), f"the folder {path.parent} is not there; the hub makes files, not folders")


def link_file(gateway: Gateway) -> Iterator[Finding]:
    """Yield what is wrong in link.yaml, and with each factory's transport there.

    Each transport's settings, host keys and private keys are checked. If the catalogue is wrong, or any factory of
    link.yaml cannot be offered, no transport is checked; ``catalogue`` reports why.
    """
    yield from of_lines(gateway.link.problems)
    config, at = gateway.link.config, gateway.link.at
    if config is None:
        return
    factories = _offered(config)
    for name, factory in factories.items():
        problem = asyncio.run(_place(config, name, factory))
        if problem:
            yield Finding(at("factories", name, "transport"), problem)


async def _place(config: LinkConfig, name: Slug, factory: Factory) -> str:
    """Return what is wrong with the settings and files of a factory's transport; "" if nothing is found.

    No connection to the factory is made.
    """
    try:
        make_connections(config, {name: factory})
    except ValueError as error:
        return str(error).removeprefix(f"{name}: ")
    return ""


def _offered(config: LinkConfig) -> dict[Slug, Factory]:
    try:
        return offered(config, federation.load(config.catalogue).factories)
    except CatalogueError:  # reported by ``catalogue``
        return {}


def catalogue(gateway: Gateway) -> Iterator[Finding]:
    """Yield what is wrong in the catalogue, and why factories that link.yaml names cannot be offered."""
    config, at = gateway.link.config, gateway.link.at
    if config is None:
        return
    if not config.catalogue.is_dir():
        yield Finding(at("catalogue"), f"{config.catalogue} is no folder; it should hold one YAML file a factory")
        return
    try:
        found = federation.load(config.catalogue, federation.antennas_beside(config.catalogue))
        offered(config, found.factories)
    except CatalogueError as error:
        for line in error.problems:
            if line.startswith("factories."):  # of link.yaml
                yield from of_lines([Places(gateway.link.path).of_line(line)])
            else:
                yield from of_lines([line])


def project_file(gateway: Gateway) -> Iterator[Finding]:
    """Yield what is wrong in the projects, compared with the catalogue and with the factories of link.yaml.

    Yields nothing if there are no projects, or if the catalogue cannot be read, which ``catalogue`` reports.
    """
    config = gateway.link.config
    if config is None or config.projects is None:
        return
    try:
        known = federation.load(config.catalogue).factories
    except CatalogueError:  # reported by ``catalogue``
        return
    try:
        book.load(config.projects, known, config.factories)
    except CatalogueError as error:
        yield from of_lines(error.problems)


def ledger(gateway: Gateway) -> Iterator[Finding]:
    """Yield why the ledger cannot be opened or used; and a hint if it is missing, or an earlier release wrote it."""
    config = gateway.link.config
    if config is None:
        return
    key = "state_dir" if config.ledger is None else "ledger"
    where = gateway.link.at(key)
    if not config.state_dir.is_dir():
        yield note(gateway.link.at("state_dir"), f"{config.state_dir} is not there yet; the link makes it")
        return
    yield from _database(config.database, where)


def _database(database: Database, where: str) -> Iterator[Finding]:
    if not database.exists():
        yield note(where, f"{database} is not there yet; the link makes it at its first start")
        return
    try:
        engine = database.engine()
    except OSError as error:
        yield Finding(where, f"{database} cannot be opened: {error}")
        return
    try:
        with engine.connect() as connection:
            step = migrations.is_at(connection)
    except (SQLAlchemyError, migrations.NewerDatabase) as error:
        yield Finding(where, f"{database}: {' '.join(str(error).split())[:500]}")
        return
    finally:
        engine.dispose()
    if step != migrations.head():
        yield note(
            where, f"{database} is of an earlier release; the link brings it up when it starts: back it up first"
        )


def named_files(config: HubConfig) -> dict[tuple[str, ...], Path]:
    """Return the files with secrets that hub.yaml names, by key, such as ``("login", "crypt_key_file")``.

    The result does not have the cookie secret, nor the private key of ``tls``.
    """
    found: dict[tuple[str, ...], Path | None] = {
        ("proxy_token_file",): config.proxy_token_file,
        ("service_token_file",): config.service_token_file,
        ("admin_token_file",): config.admin_token_file,
        ("passwords_file",): config.passwords_file,
    }
    if config.workshops is not None:
        found[("workshops", "token_file")] = config.workshops.token_file
    if config.login is not None:
        found[("login", "crypt_key_file")] = config.login.crypt_key_file
        for provider in config.login.providers:
            found[("login", "providers", provider.id, "client_secret_file")] = provider.client_secret_file
    return {keys: path for keys, path in found.items() if path is not None}
