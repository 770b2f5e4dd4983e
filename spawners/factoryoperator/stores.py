"""Lists the stores that a restored gateway needs: databases, keys, tokens, and the configuration itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy.engine import URL, make_url

from factorycommon.tls import TlsFiles
from factorylink.catalogue import catalogue as federation
from factorylink.config import KeyCredentials, SshTransportSettings
from factoryoperator.check_files import named_files
from factoryoperator.gateway import WORKSHOPS, Gateway
from factoryspawner.config.hub_config import HubConfig

Kind = Literal["file", "sqlite", "postgresql", "other"]

# Databases on a server have no path; these are their names in a backup.
HUB_DUMP, LEDGER_DUMP, WORKSHOPS_DUMP = Path("/hub.dump"), Path("/ledger.dump"), Path("/workshops.dump")
# Folders in which operating systems keep the certificates of authorities.
_OF_THE_SYSTEM = ("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr/lib", "/usr/share")
# Parameters of a PostgreSQL database's URL that name files.
_FILES_OF_URL = ("passfile", "sslrootcert", "sslcert", "sslkey", "sslcrl")
# Files beside hub.yaml for the proxy's unit (docs/systemd).
_OF_THE_PROXY = ("proxy.env", "restore-routes.header")


@dataclass(frozen=True)
class KeptStore:
    """A store: a file or database of the gateway that a restored gateway needs.

    ``kind``: "file" is a plain file, "sqlite" a database in a file, "postgresql" a database on a PostgreSQL server,
    "other" any other database. ``path``: the path of the file; for a database on a server, a made-up path such as
    ``/hub.dump``. ``what``: a description. ``url``: the URL of a database on a server, None for a file.
    """

    kind: Kind
    path: Path
    what: str
    url: URL | None = None


class NotOurs(Exception):
    """Raised for a database that this program cannot back up, since it is neither an SQLite file nor on PostgreSQL.

    The message names the database.
    """


def of(gateway: Gateway, databases: bool = True) -> list[KeptStore]:
    """Return the files and databases that a restored gateway needs, each once.

    Files that do not exist are left out; whether a database on a server exists is not checked. ``databases``: whether
    to include the databases on a server. Raises NotOurs if they are to be included and one of them is not on
    PostgreSQL.
    """
    found: dict[Path, KeptStore] = {}
    for store in [*_hub(gateway), *_link(gateway), *_workshops(gateway)]:
        if store.kind == "other" and databases:
            raise NotOurs(
                f"{store.what} is on {_scheme(store)}, which this command cannot back up: use its own tools, and leave "
                "it out here: --except-databases"
            )
        if (store.kind == "postgresql" and databases) or (store.kind in ("file", "sqlite") and store.path.is_file()):
            found.setdefault(store.path, store)
    return list(found.values())


def _hub(gateway: Gateway) -> Iterator[KeptStore]:
    config = gateway.hub.config
    if config is None:
        return
    yield KeptStore("file", gateway.hub.path, "hub.yaml")
    yield _hub_database(config)
    yield from _named_by(make_url(config.database), "the hub's database")
    yield KeptStore("file", config.cookie_secret_file, "what signs the hub's cookies")
    yield from _certificate(config.tls, "the hub's certificate")
    for keys, path in named_files(config).items():
        yield KeptStore("file", path, ".".join(keys))
    if config.login is not None:
        yield KeptStore("sqlite", config.login.people_file, "who has which name")
    if config.extra_config is not None:
        yield KeptStore("file", config.extra_config, "the operator's own configuration of the hub")
    if config.pages is not None:
        yield from _below(config.pages, "the operator's own pages")
    if config.catalogue is not None:
        yield from _catalogue(config.catalogue)
    for name in _OF_THE_PROXY:
        yield KeptStore("file", gateway.hub.path.parent / name, "of the proxy's unit")


def _hub_database(config: HubConfig) -> KeptStore:
    what = "the hub's database"
    if config.db_file is not None:
        return KeptStore("sqlite", config.db_file, what)
    return _by_url(make_url(config.database), what, HUB_DUMP)


def _by_url(url: URL, what: str, name: Path) -> KeptStore:
    kind = url.get_backend_name()
    if kind == "sqlite" and url.database:
        return KeptStore("sqlite", Path(url.database).absolute(), what)
    if kind == "postgresql":
        return KeptStore("postgresql", name, what, url.set(drivername="postgresql"))
    return KeptStore("other", name, what, url)


def _named_by(url: URL, database: str) -> Iterator[KeptStore]:
    """Yield the files that the URL of a database names: its password and certificates."""
    for name in _FILES_OF_URL:
        path = url.query.get(name)
        if isinstance(path, str) and not (name == "sslrootcert" and _is_of_the_system(Path(path))):
            yield KeptStore("file", Path(path).absolute(), f"{name} of {database}")


def _is_of_the_system(path: Path) -> bool:
    """Return whether a file with the certificates of authorities is the operating system's.

    A restore must not replace such a file.
    """
    return any(path.absolute().is_relative_to(folder) for folder in _OF_THE_SYSTEM)


def _scheme(store: KeptStore) -> str:
    return "a database" if store.url is None else store.url.get_backend_name()


def _link(gateway: Gateway) -> Iterator[KeptStore]:
    config = gateway.link.config
    if config is None:
        return
    yield KeptStore("file", gateway.link.path, "link.yaml")
    yield _by_url(config.database.url, "the ledger", LEDGER_DUMP)
    yield from _named_by(config.database.url, "the ledger")
    yield KeptStore("file", config.keys / "hmac.key", "what the gateway knows its jobs by")
    yield KeptStore("file", config.keys / "link_ed25519", "what opens the doors of sessions")
    yield KeptStore("file", config.hub.token_file, "token of the service factories")
    yield from _certificate(config.tls, "the link's certificate")
    if config.projects is not None:
        yield KeptStore("file", config.projects, "the projects")
    yield from _catalogue(config.catalogue)
    for name, access in config.factories.items():
        if isinstance(access.transport, SshTransportSettings):
            yield from _keys(access.transport, name)


def _workshops(gateway: Gateway) -> Iterator[KeptStore]:
    config = gateway.workshops.config
    if config is None:
        return
    yield KeptStore("file", gateway.workshops.path, WORKSHOPS)
    yield _by_url(config.store.url, "the workshops", WORKSHOPS_DUMP)
    yield from _named_by(config.store.url, "the workshops")
    yield KeptStore("file", config.state_dir / "joining.key", "what the hashes of join codes are made with")
    if config.joining.smtp is not None and config.joining.smtp.password_file is not None:
        yield KeptStore("file", config.joining.smtp.password_file, "password of the mail server")
    for token in config.material.tokens:
        yield KeptStore("file", token.file, "token for private repositories")
    if config.material.ca_file is not None and not _is_of_the_system(config.material.ca_file):
        yield KeptStore("file", config.material.ca_file, "the CA certificates of git servers")
    yield KeptStore("file", config.hub.token_file, "token of the service workshops")
    yield KeptStore("file", config.pools, "the pools of workshops")
    yield KeptStore("file", config.table, "the projects of workshops")
    yield from _certificate(config.tls, "the certificate of the workshops service")


def _catalogue(folder: Path) -> Iterator[KeptStore]:
    for path in sorted(folder.glob("*.yaml")):
        yield KeptStore("file", path, "the catalogue")
    antennas = federation.antennas_beside(folder)
    if antennas is not None:
        yield KeptStore("file", antennas, "the antennas")


def _keys(transport: SshTransportSettings, factory: str) -> Iterator[KeptStore]:
    credentials = transport.credentials
    if isinstance(credentials, KeyCredentials):
        yield from _below(credentials.keys, f"SSH keys of {factory}")
        return
    for _, value in credentials:
        if isinstance(value, Path):
            yield KeptStore("file", value, f"SSH key of {factory}")
            yield KeptStore("file", value.with_name(f"{value.name}.pub"), f"SSH key of {factory}")


def _certificate(tls: TlsFiles | None, what: str) -> Iterator[KeptStore]:
    for path in () if tls is None else (tls.certificate, tls.key, tls.authority):
        yield KeptStore("file", path, what)


def _below(folder: Path, what: str) -> Iterator[KeptStore]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield KeptStore("file", path, what)
