"""Makes the texts of a gateway's configuration files from the operator's options. Nothing is written here."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from factoryinstaller.options import OPERATORS, Options

ETC = "/etc/factorygate"
VAR = "/var/lib/factorygate"
CURRENT = "/opt/factorygate/current"
BACKUPS = "/var/backups/factorygate"
USER = "factorygate"
CADDY = "/etc/caddy"
CADDY_IMPORT = "import factorygate.caddy"
ACME_ROOT = f"{CADDY}/factorygate-acme-root.pem"
COMMAND = "/usr/local/bin/factorygate"
SYSTEMD = "/etc/systemd/system"
JOURNALD = "/etc/systemd/journald.conf.d/factorygate.conf"
WORKSHOPS_UNIT = "factorygate-workshops.service"
UNITS = ("factorygate-link.service", WORKSHOPS_UNIT, "factorygate-hub.service", "factorygate-proxy.service")
TIMER = "factorygate-backup.timer"
UNIT_FILES = (*UNITS, "factorygate-backup.service", TIMER)  # file names in docs/systemd
TOKENS = ("proxy-token", "service-token", "workshops-token", "admin-token", "crypt.key")
WORKSHOPS_SOCKET = "/run/factorygate-workshops/workshops.sock"
# The files of workshops, as the service's and the link's configuration name them.
_TABLE, _POOLS = f"{VAR}/shared/workshops-projects.json", "workshop-pools.yaml"
_LINK_SOCKET = "/run/factorygate/link-workshops.sock"
PASSWORDS, OIDC_SECRET = "passwords.json", "oidc.secret"  # file names


@dataclass(frozen=True)
class WantedFile:
    """A file that the installer is to write. ``path``: absolute, on the machine to install on.

    ``edited_by_operator``: an operator may edit the file; the installer replaces it only as long as nobody has changed
    it.
    """

    path: str
    text: str
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    edited_by_operator: bool = False


@dataclass(frozen=True)
class Secrets:
    """The gateway's secrets. ``tokens``: by file name.

    ``login``: name and content of the file with the passwords' hashes or with the OpenID Connect client's secret,
    whichever the operator's way of login needs.
    """

    tokens: Mapping[str, str]  # tokens by file name
    login: tuple[str, str]

    def files(self) -> list[WantedFile]:
        """Return the files with the secrets, which only the gateway's account may read."""
        texts = {name: f"{token}\n" for name, token in self.tokens.items()} | dict([self.login])
        return [secret(f"secrets/{name}", text) for name, text in sorted(texts.items())]


def new_token() -> str:
    """Return a token of 32 random bytes, in hex."""
    return secrets.token_hex(32)


def password_line(password: str) -> str:
    """Return a password's hash for the file of passwords, in the form of ``factoryspawner.login.password_file``."""
    n, r, p = 2**14, 8, 1
    salt = secrets.token_bytes(16)
    made = hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=64 * 2**20, dklen=32)
    return f"scrypt${n}${r}${p}${salt.hex()}${made.hex()}"


def secret(name: str, text: str) -> WantedFile:
    """Return a file below /etc/factorygate that only the gateway's account may read."""
    return WantedFile(f"{ETC}/{name}", text, 0o600, USER, USER)


def configuration(options: Options, tokens: Mapping[str, str]) -> list[WantedFile]:
    """Return the gateway's configuration files, except the folder ``secrets``, the catalogue and the systemd units.

    The result has the files of hub, link, proxy and web server, those of the workshops service if ``options`` want the
    service, the text for Prometheus, and the script ``factorygate``. ``tokens``: the tokens by file name; the files
    ``proxy.env`` and ``restore-routes.header`` contain one token each.
    """
    workshops = [
        WantedFile(f"{ETC}/workshops.yaml", workshops_yaml(options), 0o640, "root", USER, edited_by_operator=True),
        WantedFile(f"{ETC}/{_POOLS}", pools_yaml(), 0o640, "root", USER, edited_by_operator=True),
    ]
    return [
        *(workshops if options.workshops else ()),
        WantedFile(f"{ETC}/hub.yaml", hub_yaml(options), 0o640, "root", USER, edited_by_operator=True),
        WantedFile(f"{ETC}/link.yaml", link_yaml(options), 0o640, "root", USER, edited_by_operator=True),
        replace(  # an operator may add PROXY_OPTIONS, or change BASE_URL
            secret("proxy.env", f"CONFIGPROXY_AUTH_TOKEN={tokens['proxy-token']}\nBASE_URL=/\n"),
            edited_by_operator=True,
        ),
        secret("restore-routes.header", f"Authorization: token {tokens['admin-token']}\n"),
        WantedFile(f"{ETC}/prometheus.yml", prometheus(), 0o644, edited_by_operator=True),
        WantedFile(f"{CADDY}/factorygate.caddy", caddy(options)),
        WantedFile(COMMAND, command(), 0o755),
    ]


def hub_yaml(options: Options) -> str:
    """Return the text of hub.yaml. Values are written as JSON, which is valid YAML."""
    lines = [
        "# Written by factorygate-install, which leaves the file alone once you have changed it.",
        "# All keys: docs/operators.md, docs/configuration/hub.yaml. After a change: factorygate check, then",
        "# systemctl restart factorygate-hub",
        f"public_url: {_value(options.public_url)}",
        "proxy_token_file: secrets/proxy-token",
        "link_socket: /run/factorygate/link.sock",
        "service_token_file: secrets/service-token",
        f"db_file: {VAR}/hub/jupyterhub.sqlite",
        f"cookie_secret_file: {VAR}/hub/cookie_secret",
        "admin_token_file: secrets/admin-token",
        f"catalogue: {ETC}/factories",
        *(workshops_lines("hub.yaml") if options.workshops else ()),
    ]
    if options.login == "passwords":
        lines += [f"passwords_file: secrets/{PASSWORDS}", f"admins: [{_value(options.admin)}]"]
    else:
        lines += _login(options)
    return "\n".join(lines) + "\n"


def _login(options: Options) -> list[str]:
    issuer = [f"      issuer: {_value(options.oidc_issuer)}"] if options.oidc_issuer else []
    return [
        "login:",
        f"  people_file: {VAR}/hub/people.sqlite",
        "  crypt_key_file: secrets/crypt.key",
        f"  admin_groups: [{OPERATORS}]",
        "  providers:",
        "    - id: login                # in the redirect URI and in the hub's records: do not change it",
        f"      kind: {options.oidc_kind}",
        *issuer,
        f"      client_id: {_value(options.oidc_client)}",
        f"      client_secret_file: secrets/{OIDC_SECRET}",
        "      rules:                   # whom no rule gives a group is refused",
        *(f"        - {_value(rule)}" for rule in rules(options)),
    ]


def rules(options: Options) -> list[dict[str, Any]]:
    """Return the rules of hub.yaml that give the login provider's people a group; only people with a group may log in.

    The person with the administrator's mail address gets the group of operators; people whom an ``--allow`` admits get
    the group ``people``.
    """
    found: list[dict[str, Any]] = [{"claim": {"name": "email", "value": options.admin}, "gives": OPERATORS}]
    for rule in options.allow:
        if rule == "everybody":
            found.append({"everybody": True, "gives": "people"})
        else:
            name, _, value = rule.partition("=")
            found.append({"claim": {"name": name, "value": value}, "gives": "people"})
    return found


def link_yaml(options: Options) -> str:
    """Return the text of link.yaml without any factory; ``factorygate factory add`` adds factories."""
    workshops = "".join(f"{line}\n" for line in workshops_lines("link.yaml")) if options.workshops else ""
    return f"""\
# Written by factorygate-install, which leaves the file alone once you have changed it.
# All keys: docs/operators.md, docs/configuration/link.yaml. `factorygate factory add` adds a factory.
catalogue: {ETC}/factories
state_dir: {VAR}/link
socket: /run/factorygate/link.sock
hub:
  public_url: {_value(options.public_url)}
  token_file: secrets/service-token
  name: {options.name}
metrics: {{host: 127.0.0.1, port: 9099}}   # for Prometheus
{workshops}factories: {{}}
"""


def workshops_lines(name: str) -> list[str]:
    """Return the section ``workshops`` of the file ``name`` (``hub.yaml`` or ``link.yaml``), line by line.

    With this section, hub or link works with the workshops service; without it, there are no workshops.
    """
    if name == "link.yaml":
        return ["workshops:", f"  table: {_TABLE}", f"  pools: {_POOLS}", f"  socket: {_LINK_SOCKET}"]
    return ["workshops:", f"  socket: {WORKSHOPS_SOCKET}", "  token_file: secrets/workshops-token"]


def workshops_yaml(options: Options) -> str:
    """Return the text of workshops.yaml."""
    return f"""\
# Written by factorygate-install, which leaves the file alone once you have changed it.
# All keys: docs/operators.md, docs/configuration/workshops.yaml. After a change: factorygate check, then
# systemctl restart factorygate-workshops
state_dir: {VAR}/workshops
socket: {WORKSHOPS_SOCKET}
pools: {_POOLS}                  # what workshops may use
table: {_TABLE}
hub:
  public_url: {_value(options.public_url)}
  token_file: secrets/workshops-token
link:
  socket: {_LINK_SOCKET}
trainers: {{people: [], groups: [], everybody: false}}   # who may create workshops, beside the administrators
approval: operator                          # an administrator approves each workshop; or none
# With these, people without an account join with their mail address:
# joining:
#   sender: workshops@example.org
#   smtp: {{host: mail.example.org, port: 587, user: gateway, password_file: secrets/smtp-password}}
"""


def pools_yaml() -> str:
    """Return the text of workshop-pools.yaml without any pool."""
    return """\
# What workshops may use: until a pool is here, none can be created. Written by factorygate-install, which leaves the
# file alone once you have changed it. All keys: docs/configuration/workshop-pools.yaml. Link and workshops service read
# it again when it changes. For example:
# pools:
#   - {id: courses, factory: it4lia, sizes: [gpu-1], seats: 20, account: EUHPC_D00_001}
pools: []
"""


def caddy(options: Options) -> str:
    """Return Caddy's file for the gateway: https with an ACME certificate, and paths that are closed to the outside."""
    root = f"\t\tca_root {ACME_ROOT}\n" if options.acme_root else ""
    return f"""\
# Written by factorygate-install, which writes it anew: put what is yours into other files.
{options.domain} {{
	tls {options.email} {{
		ca {options.acme}
{root}	}}
	header {{
		Strict-Transport-Security "max-age=31536000"
		-Server
	}}
	# For this machine only: the proxy's health and the numbers for Prometheus.
	@inside path /_chp_healthz /hub/metrics /services/factories/metrics
	respond @inside 404
	reverse_proxy 127.0.0.1:8000
}}
"""


def command() -> str:
    """Return the script ``factorygate`` for operators: it runs the current release with this gateway's files."""
    return f"""\
#!/bin/sh
# Written by factorygate-install: the command of the current release, with this gateway's files.
export FACTORYGATE_HUB_CONFIG=${{FACTORYGATE_HUB_CONFIG:-{ETC}/hub.yaml}}
export FACTORYGATE_LINK=${{FACTORYGATE_LINK:-{ETC}/link.yaml}}
export FACTORYGATE_SOCKET=${{FACTORYGATE_SOCKET:-/run/factorygate/link.sock}}
export FACTORYGATE_CATALOGUE=${{FACTORYGATE_CATALOGUE:-{ETC}/factories}}
export FACTORYGATE_WORKSHOPS_SOCKET=${{FACTORYGATE_WORKSHOPS_SOCKET:-{WORKSHOPS_SOCKET}}}
exec {CURRENT}/venv/bin/factorygate "$@"
"""


def prometheus() -> str:
    """Return text for ``scrape_configs`` of a Prometheus on this machine."""
    return f"""\
# Add these to `scrape_configs` of a Prometheus on this machine; it must be able to read {ETC}/secrets/admin-token.
scrape_configs:
  - job_name: factorygate-hub
    metrics_path: /hub/metrics
    authorization: {{credentials_file: {ETC}/secrets/admin-token}}
    static_configs: [{{targets: ["127.0.0.1:8081"]}}]
  - job_name: factorygate-link
    static_configs: [{{targets: ["127.0.0.1:9099"]}}]
  - job_name: factorygate-proxy
    static_configs: [{{targets: ["127.0.0.1:8002"]}}]
"""


def digest(text: str) -> str:
    """Return the SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def folders() -> list[tuple[str, int, str, str]]:
    """Return the folders to create: path, mode, owner, group."""
    return [
        (ETC, 0o750, "root", USER),
        (f"{ETC}/secrets", 0o750, "root", USER),
        (f"{ETC}/factories", 0o2750, "root", USER),  # setgid: the link can read entries that root adds
        (VAR, 0o755, "root", "root"),
        (BACKUPS, 0o700, USER, USER),
        (str(PurePosixPath(JOURNALD).parent), 0o755, "root", "root"),
    ]


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
