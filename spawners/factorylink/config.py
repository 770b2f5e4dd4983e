"""The link's own configuration (``link.yaml``): where it listens, and how this hub reaches each factory.

The catalogue describes a factory; this file describes how the gateway reaches it. A factory without an entry under
``factories`` is shown to nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, model_validator

from factorycommon.models import Environment, Folder, IdleLimits, Model, Person, Slug, UnixAccount, Word
from factorycommon.tls import TlsFiles, is_loopback_host
from factorylink.util.database import Database
from factorylink.util.logs import LogFormat


def _in_order(ports: tuple[int, int]) -> tuple[int, int]:
    if ports[0] > ports[1]:
        raise ValueError(f"{list(ports)} is no range; allowed: the lowest port, then the highest")
    return ports


Port = Annotated[int, Field(ge=1, le=65535)]
Ports = Annotated[tuple[Port, Port], AfterValidator(_in_order)]  # from, to; both belong to it
Seconds = Annotated[int, Field(ge=1, le=10**9)]


class LocalTransportSettings(Model):
    """Commands run on this machine. ``prefix`` and ``env`` wrap scheduler commands only."""

    kind: Literal["local"] = "local"
    prefix: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    dials_nodes: ClassVar[bool] = True  # whether the gateway itself connects to a factory's nodes

    def rebased(self, base: Path) -> LocalTransportSettings:  # noqa: ARG002
        """Return the settings with their files resolved relative to ``base``."""
        return self

    def rates(self) -> dict[str, int]:
        """Return the rates that a site's rules may limit, by the rules' names."""
        return {}

    def dialed(self) -> tuple[str, tuple[str, ...]]:
        """Return the key that lists the hosts to which the gateway connects, and these hosts."""
        return "", ()


class KeyCredentials(Model):
    """One private key per site account that the site has authorized: ``KEYS/ACCOUNT``, 0600. The simplest; for sites
    that offer nothing better, and for tests."""

    kind: Literal["key"] = "key"
    keys: Path


class CaCredentials(Model):
    """The gateway's own SSH CA, which the site trusts (``TrustedUserCAKeys``): user certificates for minutes.

    ``key``: the CA's private key, 0600. ``source``: addresses the certificates are good from. ``commands``: what they
    may run, None: anything. ``minutes`` is also how far the site's clock may be ahead of ours."""

    kind: Literal["ca"] = "ca"
    key: Path
    minutes: int = Field(default=15, ge=2, le=24 * 60)
    source: tuple[str, ...] = ()
    force_command: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./ -]+$")] | None = None


class WrapperCredentials(Model):
    """One service account at the site, and a wrapper there that acts for the accounts on the site's list only."""

    kind: Literal["wrapper"] = "wrapper"
    login: UnixAccount
    key: Path  # private key of the service account, 0600
    wrapper: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./-]+$")] = "/usr/local/libexec/factorygate-act"


class EfpCredentials(Model):
    """The EuroHPC Federation Platform's SSH CA: a person's token in, a certificate of some hours out. ``url``: of the
    CA, over TLS unless it is on this machine; ``resource``: what the platform calls the factory's hosts."""

    kind: Literal["efp"] = "efp"
    url: Annotated[str, StringConstraints(pattern=r"^(https://|http://(127\.0\.0\.1|localhost)[:/])[^\s]+$")]
    resource: str = ""
    renew_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]  # where a person gets a new token
    watcher_key: Path  # private key of the watcher's account: watching never uses a person's login


Credentials = Annotated[
    KeyCredentials | CaCredentials | WrapperCredentials | EfpCredentials, Field(discriminator="kind")
]
LoginHost = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]*?(:[0-9]{1,5})?$")]
NodeFolder = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./-]*$")]
PublicKey = Annotated[str, StringConstraints(pattern=r"^(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\n]*)?$")]


class SshTransportSettings(Model):
    """The factory's login side over SSH. ``hosts`` are tried in turn, ``jump`` hosts are passed in order; HOST or
    HOST:PORT. Host keys are pinned: ``host_keys`` and ``host_cas`` here, else those of the catalogue; never learned."""

    kind: Literal["ssh"] = "ssh"
    hosts: tuple[LoginHost, ...] = Field(min_length=1)
    jump: tuple[LoginHost, ...] = ()
    host_keys: tuple[PublicKey, ...] = ()
    host_cas: tuple[PublicKey, ...] = ()
    watcher: UnixAccount  # the watcher's own identity there
    credentials: Credentials
    prefix: tuple[str, ...] = ()  # before scheduler commands
    env: dict[str, str] = Field(default_factory=dict)  # of scheduler commands; never a secret
    max_sessions: int = Field(default=10, ge=2)  # channels with a command on one connection: sshd's MaxSessions
    max_connections: int = Field(default=2, ge=1)  # per site account
    logins_per_minute: int = Field(default=20, ge=1)  # to the site, all accounts together
    connect_seconds: float = Field(default=15, gt=0)
    keepalive_seconds: float = Field(default=15, gt=0)
    dials_nodes: ClassVar[bool] = False  # the login side does

    def rebased(self, base: Path) -> SshTransportSettings:
        """Return the settings with the files of their credentials resolved relative to ``base``."""
        paths = {name: base / value for name, value in self.credentials if isinstance(value, Path)}
        return self.model_copy(update={"credentials": self.credentials.model_copy(update=paths)})

    def rates(self) -> dict[str, int]:
        """Return the rates that a site's rules may limit, by the rules' names."""
        return {"logins_per_minute": self.logins_per_minute, "max_connections": self.max_connections}

    def dialed(self) -> tuple[str, tuple[str, ...]]:
        """Return the key that lists the hosts to which the gateway connects, and these hosts. Names behind a jump host
        need not resolve here."""
        return ("jump", self.jump[:1]) if self.jump else ("hosts", self.hosts)

    @model_validator(mode="after")
    def _what_the_wrapper_takes(self) -> SshTransportSettings:
        if isinstance(self.credentials, WrapperCredentials) and (self.prefix or self.env):
            raise ValueError(
                "prefix, env: the site's wrapper runs nothing but the scheduler's own commands; the site sets their "
                "path and variables in /etc/factorygate/act.conf"
            )
        return self


def _kind(value: object) -> str:
    """Return the value, as settings for ``local`` if it names no kind."""
    kind = value.get("kind", "local") if isinstance(value, dict) else getattr(value, "kind", "local")
    return str(kind)


class DoorAccess(Model):
    """How the door is reached. ``tcp``: to the node, through the login side. ``listen``: address the door binds on its
    node; ``host``: address the link dials, None: the node as the scheduler names it. ``ports``: the range the door may
    listen on, None: any free one. ``stdio``: entered through the scheduler; at most ``stdio_most`` such doors at a
    time, since each costs a process and ports on the login side."""

    carrier: Literal["tcp", "stdio"] = "tcp"
    stdio_most: int = Field(default=50, ge=1)
    listen: str = ""
    host: str | None = None
    ports: Ports | None = None
    # Node-local; the door makes its own 0700 folder in it.
    node_tmp: NodeFolder = "/tmp"  # noqa: S108  # nosec B108


class Access(Model):
    """One factory, as this hub reaches it."""

    transport: Annotated[
        Annotated[LocalTransportSettings, Tag("local")] | Annotated[SshTransportSettings, Tag("ssh")],
        Discriminator(_kind),
    ] = LocalTransportSettings()
    door: DoorAccess = DoorAccess()
    accounts: dict[Person, UnixAccount] = Field(default_factory=dict)  # hub user -> site account
    account_pool: tuple[UnixAccount, ...] = ()  # others are mapped onto these, by a stable hash of the name
    # Run there as a lent account, before it is lent to another person; without it none is lent twice.
    account_wipe: tuple[str, ...] = ()
    job_account: Word | None = None  # the scheduler's account string (who pays)
    job_qos: Word | None = None
    session_folder: Annotated[str, StringConstraints(pattern=r"^(~|/)[A-Za-z0-9_./-]*$")] = "~/.factorygate"
    environments: tuple[Environment, ...] | None = None  # in place of the catalogue's
    notebook_folder: Folder | None = None
    idle: IdleLimits | None = None
    # Who may make a running job longer there (`scontrol update`): nobody, the site account (itself or by the wrapper),
    # or the watcher (Slurm lets only its operators do it, unless the site says otherwise).
    extend: Literal["no", "account", "watcher"] = "no"
    # The watcher is not shown other accounts' jobs (Slurm's PrivateData=jobs): each account is asked for its own.
    private_jobs: bool = False
    submits_per_minute: int = Field(default=600, ge=1)  # a third of that at once
    testbed: bool = False  # a factory of this machine's testbed: may run though its catalogue state is not live


PublicUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+/?$")]


class Hub(Model):
    """Where JupyterHub is. The token file is 0600 and holds the token of the service ``factories``."""

    # Scheme, host, port of the hub's own listener, without base_url.
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")] = "http://127.0.0.1:8081"
    base_url: Annotated[str, StringConstraints(pattern=r"^/([A-Za-z0-9_./-]*/)?$")] = "/"
    # Where people get in, without base_url; None: addresses that are shown to people begin with their path.
    public_url: PublicUrl | None = None
    token_file: Path
    name: Slug = "hub"  # in job names: factorygate-<name>


class Limits(Model):
    """What one person may have at a time, and how long the link waits for a session to come up."""

    pending_per_person: int = Field(default=5, ge=1)
    sessions_per_person: int = Field(default=10, ge=1)
    clusters_per_person: int = Field(default=10, ge=1)
    worker_jobs_per_person: int = Field(default=2000, ge=1)  # of all clusters
    extensions_per_session: int = Field(default=48, ge=0)  # how often more time may be asked of the scheduler
    cluster_lease_seconds: Seconds = 900  # a cluster that nobody reads of for so long is ended
    environment_wait_seconds: Seconds = 900  # the door waits this long for its environment
    starting_seconds: Seconds = 600  # from job start to the notebook's first 200
    orphan_grace_seconds: Seconds = 600  # a job of ours that no session can have is cancelled then
    access_grace_seconds: int = Field(
        default=3600, ge=0, le=10**9
    )  # how long sessions of a person who lost access continue


def _no_secret(text: str) -> str:
    Database.parse(text)
    return text


DatabaseUrl = Annotated[str, AfterValidator(_no_secret)]


class Mail(Model):
    """Where set, people whose session waited are told by mail when it runs: at USER@domain, or at USER where that is an
    address already; names that are no plain address get no mail. ``public_url``: as
    ``hub.public_url``, which counts where both are given; without both the mail names no address."""

    smtp_host: str
    smtp_port: Port = 25
    sender: str
    domain: str
    public_url: PublicUrl | None = None


Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]  # a name or an address
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # nosec B104  # addresses to listen at, which nobody can dial


class HubListener(Model):
    """Where a hub on another host reaches the link. Only a client whose certificate has the name ``hub`` is let in."""

    host: Host
    port: Port


class SessionListeners(Model):
    """Where the ports of sessions listen. ``advertise``: the host at which proxy and hub dial them, None: as
    ``listen_host``. With ``tls`` only clients whose certificates have the names ``proxy`` and ``hub`` are let in."""

    listen_host: Host = "127.0.0.1"
    advertise: Host | None = None

    @property
    def dialed(self) -> str:
        """Return the host at which proxy and hub dial the ports."""
        return self.advertise or self.listen_host


class MetricsListener(Model):
    """Where Prometheus reads. ``tls``: only clients with a certificate of the authority are let in, of any name."""

    host: Host
    port: Port
    tls: bool = False


class LinkConfig(Model):
    """The whole of ``link.yaml``; paths are relative to the file's folder. ``tls``: this link's certificate, where hub
    and proxy are on other hosts."""

    catalogue: Path  # folder of factory YAML files
    state_dir: Path  # 0700: ledger, keys, socket
    key_dir: Path | None = None  # hmac.key and link_ed25519, if others keep them; None: made in state_dir
    socket: Path  # Unix socket for a hub on this host and for the operator, 0600
    tls: TlsFiles | None = None
    hub_listener: HubListener | None = None
    listen_host: str = "127.0.0.1"
    listen_port: Port = 8090  # user API, behind the proxy as the service ``factories``
    session_ports: Ports = (20000, 29999)  # outside the ephemeral range
    sessions: SessionListeners = SessionListeners()
    metrics: MetricsListener | None = None
    ledger: DatabaseUrl | None = None  # None: ledger.sqlite in state_dir
    hub: Hub
    limits: Limits = Limits()
    mail: Mail | None = None
    projects: Path | None = None  # YAML file of the projects; without it nobody needs one
    apply_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")] | None = None  # where to ask for one
    log_format: LogFormat = "text"  # json: each line of the log is an object
    factories: dict[Slug, Access]

    @property
    def last_backup(self) -> Path:
        """The empty file that each successful backup writes anew; its time is the backup's."""
        return self.state_dir / "last-backup"

    @property
    def database(self) -> Database:
        """Return where the ledger is."""
        return Database.file(self.state_dir / "ledger.sqlite") if self.ledger is None else Database.parse(self.ledger)

    @property
    def keys(self) -> Path:
        """Return the folder with the link's own keys."""
        return self.key_dir or self.state_dir

    def session_url(self, port: int) -> str:
        """Return the address at which proxy and hub reach the session with that port."""
        host = self.sessions.dialed
        return f"http{'' if self.tls is None else 's'}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def public_url(self) -> str:
        """Return the gateway's address for people, without the hub's base URL and without a slash at its end; empty if
        it is not known."""
        of_mail = None if self.mail is None else self.mail.public_url
        return (self.hub.public_url or of_mail or "").rstrip("/")

    @property
    def root(self) -> str:
        """Return the gateway's address with the hub's base URL; only the base URL if the address is not known."""
        return f"{self.public_url}{self.hub.base_url}"

    @model_validator(mode="after")
    def _nothing_in_the_clear(self) -> LinkConfig:
        if self.sessions.dialed in _EVERYWHERE:
            raise ValueError("sessions.advertise: is missing; allowed: the host name at which proxy and hub dial this")
        if self.tls is not None:
            return self
        if self.hub_listener is not None:
            raise ValueError("hub_listener: needs tls, since whoever connects there is the hub")
        if self.metrics is not None and self.metrics.tls:
            raise ValueError("metrics.tls: needs tls")
        for key in ("listen_host", "advertise"):
            if not is_loopback_host(getattr(self.sessions, key) or "localhost"):
                raise ValueError(f"sessions.{key}: needs tls; allowed without: 127.0.0.1")
        return self

    @model_validator(mode="after")
    def _someone_may_run(self) -> LinkConfig:
        for name, access in self.factories.items():
            if self.projects is None and not access.accounts and not access.account_pool:
                raise ValueError(
                    f"factories.{name}.accounts: it and account_pool are both empty, so nobody could run a job here"
                )
        return self
