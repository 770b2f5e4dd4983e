"""The operator's configuration of the hub: one YAML file, named by ``FACTORYGATE_HUB_CONFIG``.

``hub_config/jupyterhub_config.py`` turns this file into JupyterHub's own settings. Relative paths are taken from the
file's folder. Files with a secret must be usable by their owner only (such as 0600); a file of root may also be
readable for its group (such as 0440), unless the hub runs as root.
"""

from __future__ import annotations

import ipaddress
import os
import stat
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from sqlalchemy.engine import make_url

from factorycommon.models import Model, Person, is_guest
from factorycommon.private_files import open_to_others
from factorycommon.service.yaml_file import CatalogueError, read_model
from factorycommon.service_address import NetworkAddress, ServiceAddress
from factorycommon.tls import TlsFiles
from factoryspawner.config.errors import ConfigurationError
from factoryspawner.config.login_settings import LoginSettings, is_loopback

M = TypeVar("M", bound=Model)

VARIABLE = "FACTORYGATE_HUB_CONFIG"
MOST_BYTES = 2**20  # maximum bytes of the body of a request to the hub


class HubConfigError(ConfigurationError):
    """Raised if the hub's YAML or a file that it names cannot be used; the message says why."""


def _http(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not an address such as http://127.0.0.1:8001")
    return url.rstrip("/")


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


Url = Annotated[str, AfterValidator(_http)]
BasePath = Annotated[str, StringConstraints(pattern=r"^/([A-Za-z0-9_./-]*/)?$")]


class LinkSettings(Model):
    """The address at which the hub reaches the link's listener for the hub (``hub_listener`` of ``link.yaml``)."""

    url: Annotated[Url, StringConstraints(pattern=r"^https://")]


class WorkshopsSettings(Model):
    """The key ``workshops`` of the hub's YAML: where the workshops service is, and whether guests may join workshops.

    ``socket``: the service's Unix socket, or ``hub_api_url``: the address, on another host, of the service's listener
    for the hub (``hub_listener`` of ``workshops.yaml``); ``url``: the address of the service's user API, which is the
    JupyterHub service ``workshops``; ``token_file``: the file with the token of this JupyterHub service, the same as
    ``hub.token_file`` of ``workshops.yaml``; ``guests``: whether people may join workshops with a mail address alone.
    """

    socket: Path | None = None
    hub_api_url: Annotated[Url, StringConstraints(pattern=r"^https://")] | None = None
    url: Url = "http://127.0.0.1:8092"
    token_file: Path
    guests: bool = True

    @model_validator(mode="after")
    def _one_way_to_it(self) -> Self:
        if (self.socket is None) == (self.hub_api_url is None):
            raise ValueError("socket, hub_api_url: give one of them")
        return self


class HubConfig(Model):
    """The keys of the hub's YAML.

    Addresses:
    ``public_url``: the address at which people reach the proxy of the gateway, such as ``https://hub.example.org``;
    ``base_url``: the URL path of the hub (``/``);
    ``subdomain_host``: equal to ``public_url`` if each person's servers have a host of their own below it, as
    ``https://ada.hub.example.org``; None: all servers are on the hub's host;
    ``hub_url``: the address at which proxy and link reach this hub (``http://127.0.0.1:8081``);
    ``hub_bind_url``: the address at which the hub listens; None: ``hub_url``;
    ``proxy_api_url``, ``proxy_token_file``: the API of the proxy, which is a separate process, and the file of its
    token;
    ``link_socket``: the link's Unix socket, or ``link``: the address of a link on another host;
    ``link_url``: the address of the link's user API, which is the service ``factories``;
    ``service_token_file``: the file with the token of the service ``factories``, the same as ``hub.token_file`` of
    ``link.yaml``;
    ``tls``: this hub's certificate, if hub, link and proxy are on several hosts;
    ``workshops``: the workshops service; None: there are no workshops.

    Data of the hub:
    ``db_file``: an SQLite file, or ``db_url``: the SQLAlchemy URL of another database;
    ``cookie_secret_file``: the hub makes this file at its first start.

    Login:
    ``login``: the OpenID Connect providers, see ``factoryspawner.config.login_settings``; or
    ``passwords_file``: names and passwords of a demo, see ``factoryspawner.login.password_file``; without both, set
    ``c.JupyterHub.authenticator_class`` in ``extra_config``;
    ``admins``: names of people with JupyterHub's role ``admin``;
    ``admin_token_file``: if set, the token in this file may manage users and servers through the hub's API;
    ``catalogue``: the folder of factories, as in ``link.yaml``: the login page offers the antennas of the file
    ``antennas.yaml`` beside this folder; None: the antennas of this release.

    Sessions:
    ``named_servers``: how many named servers a person may have beside the unnamed one; 0: no limit.

    ``extra_config``: an operator's own JupyterHub config file, read last (``c.FactorySpawner.req_account = ...``);
    ``log_format``: with ``json``, each line of the log is a JSON object;
    ``pages``: the folder with ``templates``, ``locale`` and ``static`` (pictures); None: the folder of
    ``jupyterhub_config.py``.
    """

    public_url: Url
    base_url: BasePath = "/"
    subdomain_host: Url | None = None
    hub_url: Url = "http://127.0.0.1:8081"
    hub_bind_url: Url | None = None
    proxy_api_url: Url = "http://127.0.0.1:8001"
    proxy_token_file: Path
    link_socket: Path | None = None
    link: LinkSettings | None = None
    link_url: Url = "http://127.0.0.1:8090"
    service_token_file: Path
    tls: TlsFiles | None = None
    workshops: WorkshopsSettings | None = None
    db_file: Path | None = None
    db_url: str | None = None
    cookie_secret_file: Path
    login: LoginSettings | None = None
    passwords_file: Path | None = None
    admins: tuple[Person, ...] = ()
    admin_token_file: Path | None = None
    catalogue: Path | None = None
    named_servers: int = Field(10, ge=0)
    extra_config: Path | None = None
    pages: Path | None = None
    log_format: Literal["text", "json"] = "text"

    @model_validator(mode="after")
    def _one_database(self) -> Self:
        if (self.db_file is None) == (self.db_url is None):
            raise ValueError("db_file, db_url: give one of them")
        return self

    @model_validator(mode="after")
    def _one_link(self) -> Self:
        if (self.link_socket is None) == (self.link is None):
            raise ValueError("link_socket, link: give one of them")
        if self.link is not None and self.tls is None:
            raise ValueError("link: needs tls, the certificate by which the link knows this hub")
        if self.workshops is not None and self.workshops.hub_api_url is not None and self.tls is None:
            raise ValueError("workshops.hub_api_url: needs tls, the certificate by which the service knows this hub")
        scheme, reason = ("http", "missing") if self.tls is None else ("https", "set")
        urls = {"hub_url": self.hub_url, "hub_bind_url": self.hub_bind_url or self.hub_url, "link_url": self.link_url}
        urls |= {} if self.workshops is None else {"workshops.url": self.workshops.url}
        for key, url in urls.items():
            if not url.startswith(f"{scheme}://"):
                raise ValueError(f"{key}: must be {scheme}://…, since tls is {reason}")
        return self

    @model_validator(mode="after")
    def _a_host_with_subdomains(self) -> Self:
        if self.subdomain_host is None:
            return self
        if self.subdomain_host != self.public_url:
            raise ValueError(f"subdomain_host: must be equal to public_url, {self.public_url}")
        parts = urlsplit(self.subdomain_host)
        host = parts.hostname or ""
        if parts.path:
            raise ValueError(f"subdomain_host: must end with the host, without {parts.path}; base_url has the path")
        if "." not in host or _is_ip_address(host):
            raise ValueError(f"subdomain_host: {host} has no subdomains; give a name such as https://hub.example.org")
        return self

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.login is not None and self.passwords_file is not None:
            raise ValueError("login, passwords_file: give one of them")
        if self.login is not None and not (self.public_url.startswith("https://") or is_loopback(self.public_url)):
            raise ValueError("login: needs a public_url that is https, to which the providers send people back")
        return self

    @model_validator(mode="after")
    def _no_guest_names(self) -> Self:
        given = [("admins", name) for name in self.admins]
        for provider in self.login.providers if self.login is not None else ():
            given += [("login.providers.names", name) for name in provider.names.values()]
        for key, name in given if self.guests_at is not None else ():
            if is_guest(name.lower()):
                raise ValueError(f"{key}: {name!r} is a name for guests of workshops; give another one")
        return self

    @property
    def link_at(self) -> ServiceAddress:
        """Return where this hub reaches the link: a Unix socket, or an address on another host."""
        if self.link is not None and self.tls is not None:
            return NetworkAddress(self.link.url, self.tls)
        return cast(Path, self.link_socket)  # the validator requires one of the two

    @property
    def workshops_at(self) -> ServiceAddress | None:
        """Return where this hub reaches the workshops service: a Unix socket, or an address on another host.

        None if there are no workshops.
        """
        if self.workshops is None:
            return None
        if self.workshops.hub_api_url is not None and self.tls is not None:
            return NetworkAddress(self.workshops.hub_api_url, self.tls)
        return self.workshops.socket

    @property
    def guests_at(self) -> ServiceAddress | None:
        """Return where this hub asks the workshops service about guests; None if nobody may join as a guest."""
        return self.workshops_at if self.workshops is not None and self.workshops.guests else None

    def antennas_file(self, shipped: Path) -> Path | None:
        """Return the file of the antennas that the login page offers; None if the catalogue has none.

        ``shipped``: the file of this release, for a hub without ``catalogue``. Raises HubConfigError if the catalogue's
        folder does not exist.
        """
        if self.catalogue is None:
            return shipped
        if not self.catalogue.is_dir():
            raise HubConfigError(f"catalogue: {self.catalogue} is no folder; it is the `catalogue` of link.yaml")
        beside = self.catalogue.absolute().parent / shipped.name
        return beside if beside.exists() else None

    @property
    def database(self) -> str:
        """Return the SQLAlchemy URL of the hub's database."""
        return self.db_url or f"sqlite:///{self.db_file}"


def read_secret(path: Path) -> str:
    """Return the token in a file, without white space at its ends.

    Raises HubConfigError if the file cannot be read, is empty, or may be used by other accounts than its owner. A file
    of root may be readable for its group, unless the hub runs as root.
    """
    try:
        found = path.stat()
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise HubConfigError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise HubConfigError(f"{path}: is no text") from error
    if open_to_others(found):
        raise HubConfigError(f"{path}: must be 0600, is {stat.S_IMODE(found.st_mode):04o}")
    if not text:
        raise HubConfigError(f"{path}: is empty")
    return text


def keep_private(database: str) -> None:
    """Make the files that the hub writes readable for the hub's own account only.

    The umask becomes 077, and existing files of an SQLite database become 0600. ``database``: an SQLAlchemy URL. Raises
    HubConfigError if the mode of a file must be changed and cannot be, for example because the file is another
    account's.
    """
    os.umask(0o077)
    url = make_url(database)
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return
    for end in ("", "-journal", "-wal", "-shm"):
        path = Path(f"{url.database}{end}")
        try:
            if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
                path.chmod(0o600)
        except OSError as error:
            raise HubConfigError(f"{path}: must be 0600, and cannot be made so: {error.strerror}") from error


def load(path: Path) -> HubConfig:
    """Return the configuration in a file. Raises HubConfigError, with one line for each mistake.

    A line about a mistake in the YAML names the file and, where they are known, line and key, and says what is wrong.
    """
    try:
        return _from(path.absolute().parent, read_model(path, HubConfig))
    except CatalogueError as error:
        raise HubConfigError(str(error)) from error


@cache
def loaded() -> HubConfig:
    """Return the configuration in the file that the variable ``FACTORYGATE_HUB_CONFIG`` names.

    The file is read once for each process. Raises HubConfigError.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        raise HubConfigError(f"{VARIABLE} names no file: set it to the hub's YAML")
    return load(Path(name))


def _from(folder: Path, model: M) -> M:
    """Return the model with its relative paths, and those of nested models, resolved relative to ``folder``."""
    update: dict[str, Any] = {}
    for name, value in model:
        if isinstance(value, Path):
            update[name] = folder / value
        elif isinstance(value, Model):
            update[name] = _from(folder, value)
        elif isinstance(value, tuple):
            update[name] = tuple(_from(folder, one) if isinstance(one, Model) else one for one in value)
    return model.model_copy(update=update)
