"""The link's own configuration (``link.yaml``): where it listens, and how this hub reaches each factory.

The catalogue describes a factory; ``link.yaml`` describes how the gateway reaches the factory. Nobody can start
anything at a factory without an entry under ``factories``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, model_validator

from factorycommon.models import Environment, Folder, IdleLimits, Model, Person, Slug, UnixAccount, Word
from factorycommon.service.database import Database
from factorycommon.service.listeners import Host, HubListener, Port
from factorycommon.service.logs import LogFormat
from factorycommon.tls import TlsFiles, is_loopback_host


def _in_order(ports: tuple[int, int]) -> tuple[int, int]:
    if ports[0] > ports[1]:
        raise ValueError(f"{list(ports)} is no range; allowed: the lowest port, then the highest")
    return ports


Ports = Annotated[tuple[Port, Port], AfterValidator(_in_order)]  # first and last port, both included
Seconds = Annotated[int, Field(ge=1, le=10**9)]


class LocalTransportSettings(Model):
    """Settings of the transport ``local``, which runs commands on this machine.

    ``prefix``: words before each command; ``env``: more environment variables of the commands. ``LocalTransport.read``
    uses neither."""

    kind: Literal["local"] = "local"
    prefix: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    dials_nodes: ClassVar[bool] = True  # True if the gateway itself connects to a factory's nodes

    def rebased(self, base: Path) -> LocalTransportSettings:  # noqa: ARG002
        """Return the settings unchanged, because they contain no path relative to ``base``."""
        return self

    def rates(self) -> dict[str, int]:
        """Return no rates, because this transport has none that a site's rules may limit."""
        return {}

    def dialed(self) -> tuple[str, tuple[str, ...]]:
        """Return "" for the name of the setting that lists hosts, and no hosts: this transport has no such setting."""
        return "", ()


class KeyCredentials(Model):
    """One private key for each site account; the site has authorized these keys.

    This is the simplest kind of credentials, for sites that support nothing better, and for tests. ``keys``: the folder
    of the keys; each file has the name of its account and the mode 0600."""

    kind: Literal["key"] = "key"
    keys: Path


class CaCredentials(Model):
    """The gateway's own SSH CA, which the site trusts (``TrustedUserCAKeys``).

    The CA issues user certificates that are valid for some minutes.

    ``key``: the CA's private key, 0600. ``source``: the IP addresses from which the certificates are valid; empty: any.
    ``force_command``: the only command that the certificates allow; None: any. ``minutes``: validity of a certificate;
    it also limits how far the site's clock may be ahead of the link's."""

    kind: Literal["ca"] = "ca"
    key: Path
    minutes: int = Field(default=15, ge=2, le=24 * 60)
    source: tuple[str, ...] = ()
    force_command: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./ -]+$")] | None = None


class WrapperCredentials(Model):
    """One service account at the site, whose wrapper runs commands as other accounts.

    The wrapper acts only for accounts on the site's list. ``login``: the service account's name; ``wrapper``: the
    wrapper's path at the site."""

    kind: Literal["wrapper"] = "wrapper"
    login: UnixAccount
    key: Path  # path of the service account's private key, 0600
    wrapper: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./-]+$")] = "/usr/local/libexec/factorygate-act"


class EfpCredentials(Model):
    """The SSH CA of the EuroHPC Federation Platform, which exchanges a person's token for a certificate.

    The certificate is valid for some hours.

    ``url``: the CA's address, which must use TLS unless it is on this machine; ``resource``: the platform's name for
    the factory's hosts."""

    kind: Literal["efp"] = "efp"
    url: Annotated[str, StringConstraints(pattern=r"^(https://|http://(127\.0\.0\.1|localhost)[:/])[^\s]+$")]
    resource: str = ""
    # the URL where a person gets a new token
    renew_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]
    watcher_key: Path  # path of the private key of the watcher's account: watching never uses a person's login


Credentials = Annotated[
    KeyCredentials | CaCredentials | WrapperCredentials | EfpCredentials, Field(discriminator="kind")
]
LoginHost = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]*?(:[0-9]{1,5})?$")]
NodeFolder = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./-]*$")]
PublicKey = Annotated[str, StringConstraints(pattern=r"^(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\n]*)?$")]


def address(text: str) -> tuple[str, int]:
    """Return the host and the port of a ``LoginHost``. ``text``: HOST:PORT, or HOST alone for port 22.

    A text with several colons is an IPv6 address without a port.
    """
    host, colon, port = text.rpartition(":")
    if colon and ":" not in host:
        return host, int(port)
    return text, 22


class SshTransportSettings(Model):
    """Settings of the transport ``ssh``, which reaches the factory's login side.

    ``hosts``: tried one after another; ``jump``: hosts to pass, in order; each is HOST or HOST:PORT. Host keys are
    pinned by ``host_keys`` and ``host_cas``, or else by the catalogue; keys are never learned."""

    kind: Literal["ssh"] = "ssh"
    hosts: tuple[LoginHost, ...] = Field(min_length=1)
    jump: tuple[LoginHost, ...] = ()
    host_keys: tuple[PublicKey, ...] = ()
    host_cas: tuple[PublicKey, ...] = ()
    watcher: UnixAccount  # the site account that the watcher uses
    credentials: Credentials
    prefix: tuple[str, ...] = ()  # words before each scheduler command
    env: dict[str, str] = Field(default_factory=dict)  # environment of scheduler commands; never a secret
    # largest number of commands that run at once on a connection: sshd's MaxSessions
    max_sessions: int = Field(default=10, ge=2)
    max_connections: int = Field(default=2, ge=1)  # limit for each site account
    logins_per_minute: int = Field(default=20, ge=1)  # limit for the whole site, all accounts together
    connect_seconds: float = Field(default=15, gt=0)
    keepalive_seconds: float = Field(default=15, gt=0)
    dials_nodes: ClassVar[bool] = False  # the login side connects to the nodes

    def rebased(self, base: Path) -> SshTransportSettings:
        """Return the settings with the relative paths in their credentials resolved from ``base``."""
        paths = {name: base / value for name, value in self.credentials if isinstance(value, Path)}
        return self.model_copy(update={"credentials": self.credentials.model_copy(update=paths)})

    def rates(self) -> dict[str, int]:
        """Return the configured rates that a site's rules may limit, by the names that the rules use."""
        return {"logins_per_minute": self.logins_per_minute, "max_connections": self.max_connections}

    def dialed(self) -> tuple[str, tuple[str, ...]]:
        """Return the name of the setting that lists the hosts to which the gateway connects, and these hosts.

        If there are jump hosts, return only the first of them: the gateway itself connects to no other host.
        """
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
    """Return the ``kind`` of a transport's settings; settings that name no kind are of the kind ``local``."""
    kind = value.get("kind", "local") if isinstance(value, dict) else getattr(value, "kind", "local")
    return str(kind)


ACCOUNT = "ACCOUNT"  # stands for the account's name in the commands that wipe it


class DoorAccess(Model):
    """How the link reaches the doors in a factory's jobs.

    With the carrier ``tcp``: by a TCP connection to the node. ``listen``: the address on the node where the door
    listens, "": all addresses; ``host``: the address that the link connects to, None: the node's name as the scheduler
    reports it; ``ports``: the ports that the door may use, None: any free port.

    With the carrier ``stdio``: by a command that enters the job through the scheduler. ``stdio_most``: the largest
    number of such connections at a time, since each needs a process and ports on the login side."""

    carrier: Literal["tcp", "stdio"] = "tcp"
    stdio_most: int = Field(default=50, ge=1)
    listen: str = ""
    host: str | None = None
    ports: Ports | None = None
    # A folder on the node; the door makes its own 0700 folder in it.
    node_tmp: NodeFolder = "/tmp"  # noqa: S108  # nosec B108


class Access(Model):
    """How this hub reaches one factory, and under which site accounts the hub's users run jobs there."""

    transport: Annotated[
        Annotated[LocalTransportSettings, Tag("local")] | Annotated[SshTransportSettings, Tag("ssh")],
        Discriminator(_kind),
    ] = LocalTransportSettings()
    door: DoorAccess = DoorAccess()
    accounts: dict[Person, UnixAccount] = Field(default_factory=dict)  # site accounts by hub user
    # accounts for all other users; a stable hash of the user's name selects one
    account_pool: tuple[UnixAccount, ...] = ()
    # A command that runs as a lent account before another person gets this account. Without it no account is lent
    # twice.
    account_wipe: tuple[str, ...] = ()
    # A command that runs as the account after its wipe, and proves it: it must print nothing and end with 0.
    account_wipe_proof: tuple[str, ...] = ()
    # Who runs these two commands: the account itself, or the watcher, with the account's name in place of ACCOUNT. A
    # person who had the account may have changed the startup files of its shell, so that its own commands do nothing.
    account_wipe_by: Literal["account", "watcher"] = "account"
    job_account: Word | None = None  # the scheduler's account that is charged
    job_qos: Word | None = None
    session_folder: Annotated[str, StringConstraints(pattern=r"^(~|/)[A-Za-z0-9_./-]*$")] = "~/.factorygate"
    environments: tuple[Environment, ...] | None = None  # replaces the catalogue's value
    notebook_folder: Folder | None = None
    idle: IdleLimits | None = None
    # Who may extend a running job (`scontrol update`): nobody, the site account (itself or by the wrapper), or the
    # watcher (by default, Slurm allows it only to its operators).
    extend: Literal["no", "account", "watcher"] = "no"
    # True if the watcher cannot see the jobs of other accounts (Slurm's PrivateData=jobs), so that the link must ask as
    # each account for this account's jobs.
    private_jobs: bool = False
    # limit for the whole factory; at most a third of this number at once
    submits_per_minute: int = Field(default=600, ge=1)
    # True for a factory of this machine's testbed, which may be used though its catalogue entry is not live
    testbed: bool = False

    @model_validator(mode="after")
    def _the_watcher_wipes_one_account(self) -> Access:
        for key in ("account_wipe", "account_wipe_proof"):
            argv = getattr(self, key)
            if argv and (ACCOUNT in argv) != (self.account_wipe_by == "watcher"):
                raise ValueError(f"{key}: needs the word {ACCOUNT} if account_wipe_by is watcher, and only then")
        return self

    def wipe_commands(self, account: str) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
        """Return the command that wipes an account, the one that checks that the account is clean, and who runs both.

        Each command is empty if none is configured. The last value is the account itself; None: the watcher, which is
        the site account that asks the scheduler about all jobs.
        """
        wipe, proof = (
            tuple(account if word == ACCOUNT else word for word in argv)
            for argv in (self.account_wipe, self.account_wipe_proof)
        )
        return wipe, proof, None if self.account_wipe_by == "watcher" else account


PublicUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+/?$")]


class Hub(Model):
    """How the link reaches JupyterHub. ``token_file``: a 0600 file with the token of the service ``factories``."""

    # Scheme, host and port of the hub's own listener, without base_url.
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")] = "http://127.0.0.1:8081"
    base_url: Annotated[str, StringConstraints(pattern=r"^/([A-Za-z0-9_./-]*/)?$")] = "/"
    # The gateway's address for people, without base_url. None: people are shown URLs without a host.
    public_url: PublicUrl | None = None
    token_file: Path
    name: Slug = "hub"  # part of job names: factorygate-<name>


class Limits(Model):
    """Limits for one person, and the times that the link waits."""

    pending_per_person: int = Field(default=5, ge=1)
    sessions_per_person: int = Field(default=10, ge=1)
    clusters_per_person: int = Field(default=10, ge=1)
    worker_jobs_per_person: int = Field(default=2000, ge=1)  # of all clusters of a person together
    extensions_per_session: int = Field(default=48, ge=0)  # how often a person may extend a session
    cluster_lease_seconds: Seconds = 900  # a cluster ends if nobody has read its events for this time
    environment_wait_seconds: Seconds = 900  # how long the door waits for its environment
    # from when the door has the notebook's environment variables until the notebook's first answer with status 200
    starting_seconds: Seconds = 600
    # after this time, a job of this gateway that belongs to no session is cancelled
    orphan_grace_seconds: Seconds = 600
    access_grace_seconds: int = Field(
        default=3600, ge=0, le=10**9
    )  # how long sessions of a person who lost access continue


def _no_secret(text: str) -> str:
    Database.parse(text)
    return text


DatabaseUrl = Annotated[str, AfterValidator(_no_secret)]


class Mail(Model):
    """Mails to people whose session waited in the queue and now runs. Without this section no mails are sent.

    The address is USER@domain, or USER if that is already an address; people whose name cannot be part of a plain
    address get no mail. ``public_url``: the gateway's address for people, unless ``hub.public_url`` is set; without
    both, the mail has no link.
    """

    smtp_host: str
    smtp_port: Port = 25
    sender: str
    domain: str
    public_url: PublicUrl | None = None


_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # nosec B104  # addresses to listen at, which nobody can dial


class SessionListeners(Model):
    """Where the link listens for the proxy, with one port for each session.

    ``advertise``: the host name by which proxy and hub reach the ports, None: ``listen_host``. If ``link.yaml`` has
    ``tls``, the listeners accept only clients whose certificates have the names ``proxy`` or ``hub``."""

    listen_host: Host = "127.0.0.1"
    advertise: Host | None = None

    @property
    def dialed(self) -> str:
        """Return the host name by which proxy and hub reach the ports of the sessions."""
        return self.advertise or self.listen_host


class MetricsListener(Model):
    """The listener for Prometheus.

    ``tls``: whether clients need a certificate, of any name, from the authority in ``LinkConfig.tls``."""

    host: Host
    port: Port
    tls: bool = False


class WorkshopFiles(Model):
    """The files by which the link knows workshops.

    ``table``: the projects, as the workshops service writes them; ``pools``: what an operator lets workshops use at
    each factory; ``socket``: Unix socket, 0660, of the link's API for the workshops service, None: no such API."""

    table: Path
    pools: Path
    socket: Path | None = None

    def rebased(self, base: Path) -> WorkshopFiles:
        """Return a copy with the relative paths resolved from ``base``."""
        socket = None if self.socket is None else base / self.socket
        return WorkshopFiles(table=base / self.table, pools=base / self.pools, socket=socket)


class LinkConfig(Model):
    """The contents of ``link.yaml``. Paths are relative to the file's folder.

    ``tls``: this link's certificate, needed if hub or proxy are on other hosts.
    """

    catalogue: Path  # folder of the factories' YAML files
    state_dir: Path  # the link's data, mode 0700: ledger, keys, socket
    # folder of hmac.key and link_ed25519, if an operator provides them; None: the link makes them in state_dir
    key_dir: Path | None = None
    socket: Path  # Unix socket, 0600, for a hub on this host and for the operator
    tls: TlsFiles | None = None
    hub_listener: HubListener | None = None
    listen_host: str = "127.0.0.1"
    listen_port: Port = 8090  # port of the user API, which the proxy serves as the service ``factories``
    session_ports: Ports = (20000, 29999)  # outside the ephemeral range
    sessions: SessionListeners = SessionListeners()
    metrics: MetricsListener | None = None
    ledger: DatabaseUrl | None = None  # None: ledger.sqlite in state_dir
    hub: Hub
    limits: Limits = Limits()
    mail: Mail | None = None
    projects: Path | None = None  # YAML file of the projects; None: people need no project
    workshops: WorkshopFiles | None = None  # None: there are no workshops
    # URL where people can ask for a project
    apply_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")] | None = None
    log_format: LogFormat = "text"  # json: each line of the log is a JSON object
    factories: dict[Slug, Access]

    @property
    def kept_workshops(self) -> Path:
        """Return the path of the link's copy of the last valid table of workshops' projects."""
        return self.state_dir / "workshops.last-good.json"

    @property
    def last_backup(self) -> Path:
        """Return the path of the empty file that each successful backup writes.

        Its modification time is the time of the backup.
        """
        return self.state_dir / "last-backup"

    @property
    def database(self) -> Database:
        """Return the database in which the link keeps its ledger."""
        return Database.file(self.state_dir / "ledger.sqlite") if self.ledger is None else Database.parse(self.ledger)

    @property
    def keys(self) -> Path:
        """Return the folder with the link's own keys: ``hmac.key`` and ``link_ed25519``."""
        return self.key_dir or self.state_dir

    def session_url(self, port: int) -> str:
        """Return the URL at which proxy and hub reach the session with that port."""
        host = self.sessions.dialed
        return f"http{'' if self.tls is None else 's'}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def public_url(self) -> str:
        """Return the gateway's URL for people, without the hub's base URL and without a slash at its end.

        "" if it is not known.
        """
        of_mail = None if self.mail is None else self.mail.public_url
        return (self.hub.public_url or of_mail or "").rstrip("/")

    @property
    def root(self) -> str:
        """Return the URL at which people reach the hub: ``public_url``, followed by the hub's base URL.

        If the gateway's URL is not known, this is the base URL alone.
        """
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
