"""The link's own configuration (``link.yaml``): where it listens, and how this hub reaches each factory.

The catalogue says what a factory is; this says how *we* get there. A factory without an entry under ``factories``
is shown to nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from factorylink.models import Environment, Folder, IdleLimits, Model, Person, Slug, UnixAccount, Word


class LocalTransport(Model):
    """Commands run on this machine. ``prefix`` and ``env`` wrap scheduler commands only."""

    kind: Literal["local"] = "local"
    prefix: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)


class DoorAccess(Model):
    """How the door is reached. ``listen``: address the door binds on its node; ``host``: address the link dials,
    None: the node as the scheduler names it. ``ports``: the range the door may listen on, None: any free one."""

    carrier: Literal["tcp"] = "tcp"
    listen: str = ""
    host: str | None = None
    ports: tuple[int, int] | None = None
    # Node-local; the door makes its own 0700 folder in it.
    node_tmp: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./-]*$")] = "/tmp"  # noqa: S108


class Access(Model):
    """One factory, as this hub reaches it."""

    transport: LocalTransport = LocalTransport()
    door: DoorAccess = DoorAccess()
    accounts: dict[Person, UnixAccount] = Field(default_factory=dict)  # hub user -> site account
    account_pool: tuple[UnixAccount, ...] = ()  # others are mapped onto these, by a stable hash of the name
    job_account: Word | None = None  # the scheduler's account string (who pays)
    job_qos: Word | None = None
    session_folder: Annotated[str, StringConstraints(pattern=r"^(~|/)[A-Za-z0-9_./-]*$")] = "~/.factorygate"
    environments: tuple[Environment, ...] | None = None  # in place of the catalogue's
    notebook_folder: Folder | None = None
    idle: IdleLimits | None = None
    testbed: bool = False  # a factory of this machine's testbed: may run though its catalogue state is not live

    @model_validator(mode="after")
    def _someone_may_run(self) -> Access:
        if not self.accounts and not self.account_pool:
            raise ValueError("accounts, account_pool: both are empty, so nobody could run a job here")
        return self


class Hub(Model):
    """Where JupyterHub is. The token file is 0600 and holds the token of the service ``factories``."""

    url: str = "http://127.0.0.1:8081"  # scheme, host, port of the hub's own listener, without base_url
    base_url: Annotated[str, StringConstraints(pattern=r"^/([A-Za-z0-9_./-]*/)?$")] = "/"
    token_file: Path
    name: Slug = "hub"  # in job names: factorygate-<name>


class Limits(Model):
    """What one person may have at a time, and how long the link waits for a session to come up."""

    pending_per_person: int = Field(default=5, ge=1)
    sessions_per_person: int = Field(default=10, ge=1)
    environment_wait_seconds: int = Field(default=900, ge=1)  # the door waits this long for its environment
    starting_seconds: int = Field(default=600, ge=1)  # from job start to the notebook's first 200


class Mail(Model):
    """Where set, people whose session waited are told by mail when it runs: USER@domain. ``public_url``: where people
    get in, without the hub's base_url; None: the mail names no address."""

    smtp_host: str
    smtp_port: int = 25
    sender: str
    domain: str
    public_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+/?$")] | None = None


class LinkConfig(Model):
    """The whole of ``link.yaml``; paths are relative to the file's folder."""

    catalogue: Path  # folder of factory YAML files
    state_dir: Path  # 0700: ledger, keys, socket
    socket: Path  # Unix socket for the hub, 0600
    listen_host: str = "127.0.0.1"
    listen_port: int = 8090  # user API, behind the proxy as the service ``factories``
    session_ports: tuple[int, int] = (20000, 29999)  # loopback, outside the ephemeral range
    hub: Hub
    limits: Limits = Limits()
    mail: Mail | None = None
    factories: dict[Slug, Access]
