"""Writes the files that the demo keeps in ``.demo``: logins, secrets, configuration of hub and link; all are 0600."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from factorycommon.models import Environment, Factory
from factoryspawner.login.password_file import write_passwords
from testbed import clock
from testbed.demo import login as demo_login
from testbed.demo.options import Ports
from testbed.factories import Running
from testbed.install import environments as install
from testbed.install import pytorch
from testbed.supervisor import Program, write_private

PEOPLE = ("ada", "grace", "emmy")
ADMIN = demo_login.ADMIN
TRAINER = "trainer"
WORKSHOPS_TABLE, WORKSHOP_POOLS = "workshops-projects.json", "workshop-pools.yaml"
POOL_SEATS = 60  # seats that all workshops at a factory may have at the same time
Login = Literal["passwords", "oidc"]  # how people log in
SOCKET_LIMIT = 107  # maximum bytes of a Unix socket's path
SHOWN = ("jupyterlab", "numpy", "pandas", "matplotlib", "dask", "torch")


class DemoFolder:
    """The folder with all files that one demo keeps between starts."""

    def __init__(
        self,
        path: Path,
        ports: Ports,
        programs: Path,
        login: Login = "passwords",
        base_url: str = "/",
        workshop: bool = False,
    ) -> None:
        self.path = path.absolute()
        self.has_workshop = workshop
        self.base_url = base_url
        self.ports = ports
        self.programs = programs
        self.login = login

    @property
    def issuer(self) -> str:
        """Return the login provider's URL; without ``--login oidc`` nothing listens there."""
        return f"http://127.0.0.1:{self.ports.provider}"

    @property
    def url(self) -> str:
        """Return the URL that people open, without a slash at its end."""
        return f"{self.public_url}{self.base_url}".rstrip("/")

    @property
    def public_url(self) -> str:
        """Return the proxy's own URL, without the path of the gateway below it."""
        return f"http://127.0.0.1:{self.ports.public}"

    @property
    def hub_url(self) -> str:
        """Return the address where the hub listens."""
        return f"http://127.0.0.1:{self.ports.hub}"

    @property
    def proxy_api_url(self) -> str:
        """Return the address of the proxy's API."""
        return f"http://127.0.0.1:{self.ports.proxy_api}"

    @property
    def link_url(self) -> str:
        """Return the address where the link's user API listens."""
        return f"http://127.0.0.1:{self.ports.link}"

    @property
    def link_socket(self) -> Path:
        """Return the path of the Unix socket on which the link listens for the hub."""
        return self.path / "link" / "hub.sock"

    @property
    def workshops_url(self) -> str:
        """Return the address where the workshops service's user API listens."""
        return f"http://127.0.0.1:{self.ports.workshops}"

    @property
    def link_workshops_socket(self) -> Path:
        """Return the path of the Unix socket on which the link listens for the workshops service."""
        return self.path / "link" / "workshops.sock"

    @property
    def workshops_socket(self) -> Path:
        """Return the path of the Unix socket on which the workshops service listens for the hub."""
        return self.path / "workshops" / "hub.sock"

    @property
    def mailbox(self) -> Path:
        """Return the folder into which the demo's mails are written."""
        return self.path / "mailbox"

    @property
    def trainer(self) -> str:
        """Return the name of the person who leads the demo's workshop.

        If people log in with passwords, the trainer is an additional person; with a login provider, one of
        the demo's people.
        """
        return TRAINER if self.login == "passwords" else PEOPLE[0]

    @property
    def greeting(self) -> Path:
        """Return the path of the file with the text printed at the start: the address and how to log in."""
        return self.path / "greeting.txt"

    @property
    def record(self) -> Path:
        """Return the path of the file that records the demo's processes."""
        return self.path / "processes.json"

    def prepare(self) -> None:
        """Make the folders, and any missing logins and secrets.

        Raises ValueError with an explanation if the folder's path is too long for Unix sockets in it.
        """
        longest = self.path / "link" / "back.sock"
        if len(str(longest).encode()) > SOCKET_LIMIT:
            raise ValueError(f"the path of this checkout is too long: {longest} must fit into {SOCKET_LIMIT} bytes")
        self.path.mkdir(parents=True, exist_ok=True)
        for name in ("hub", "link", "workshops", "mailbox", "log"):
            (self.path / name).mkdir(exist_ok=True)
            (self.path / name).chmod(0o700)
        for name in ("proxy", "service", "admin", "workshops"):
            self.secret(name)
        write_passwords(self.path / "passwords.json", self.logins())

    def secret(self, name: str) -> str:
        """Return the token ``name``, which is made at its first use and then kept."""
        file = self.path / f"{name}.token"
        if not file.exists():
            write_private(file, secrets.token_hex(32))
        return file.read_text(encoding="ascii")

    def logins(self) -> dict[str, str]:
        """Return the password of each login name; passwords are made at the first use and then kept."""
        file = self.path / "logins.json"
        known: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        wanted = {name: known.get(name) or secrets.token_urlsafe(9) for name in self._names()}
        if wanted != known:
            write_private(file, json.dumps(wanted, indent=1))
        return wanted

    def _names(self) -> tuple[str, ...]:
        with_trainer = self.has_workshop and self.login == "passwords"
        return (*PEOPLE, ADMIN, *((TRAINER,) if with_trainer else ()))

    # --- configuration

    def write_hub_config(self) -> Path:
        """Write the hub's YAML; return its path."""
        content: dict[str, Any] = {
            "public_url": self.public_url,
            "base_url": self.base_url,
            "hub_url": self.hub_url,
            "proxy_api_url": self.proxy_api_url,
            "proxy_token_file": str(self.path / "proxy.token"),
            "link_socket": str(self.link_socket),
            "link_url": self.link_url,
            "service_token_file": str(self.path / "service.token"),
            "db_file": str(self.path / "hub" / "jupyterhub.sqlite"),
            "cookie_secret_file": str(self.path / "hub" / "cookie_secret"),
            "admin_token_file": str(self.path / "admin.token"),
            "workshops": {
                "socket": str(self.workshops_socket),
                "url": self.workshops_url,
                "token_file": str(self.path / "workshops.token"),
            },
        }
        if self.login == "oidc":
            content["login"] = demo_login.hub_settings(self.path, self.public_url, self.issuer)
        else:
            content |= {"passwords_file": str(self.path / "passwords.json"), "admins": [ADMIN]}
        return self._write_yaml("hub.yaml", content)

    def write_link_config(self, clusters: Mapping[str, Running], catalogue: Mapping[str, Factory]) -> Path:
        """Write the link's YAML; return its path.

        The file says how the link reaches each cluster, and which environment the notebooks use there.
        """
        content = {
            "catalogue": str(install.CHECKOUT / "hub_config" / "factories"),
            "state_dir": str(self.path / "link"),
            "socket": str(self.link_socket),
            "listen_port": self.ports.link,
            "session_ports": list(self.ports.sessions),
            "metrics": {"host": "127.0.0.1", "port": self.ports.link_metrics},
            "workshops": {
                "table": str(self.path / WORKSHOPS_TABLE),
                "pools": str(self.path / WORKSHOP_POOLS),
                "socket": str(self.link_workshops_socket),
            },
            "hub": {
                "url": self.hub_url,
                "base_url": self.base_url,
                "public_url": self.public_url,
                "token_file": str(self.path / "service.token"),
                "name": "demo",
            },
            "factories": {name: self._access(cluster, catalogue[name]) for name, cluster in clusters.items()},
        }
        if self.login == "oidc":
            content["projects"] = str(self._write_yaml("projects.yaml", demo_login.projects(clusters)))
        return self._write_yaml("link.yaml", content)

    def write_workshops_config(self, catalogue: Mapping[str, Factory]) -> Path:
        """Write the YAML of the workshops service; return its path.

        Also write the YAML file with the pools: a pool of seats at each factory.

        All people of the demo may create workshops; an operator has to approve them.
        """
        notebooks = environment(self.programs).id
        pools = [
            {"id": name, "factory": name, "sizes": [size.id for size in factory.sizes], "seats": POOL_SEATS,
             "environments": [notebooks],
             "account": factory.account_example}
            for name, factory in catalogue.items()
        ]  # fmt: skip
        content = {
            "state_dir": str(self.path / "workshops"),
            "socket": str(self.workshops_socket),
            "listen_port": self.ports.workshops,
            "pools": str(self._write_yaml(WORKSHOP_POOLS, {"pools": pools})),
            "table": str(self.path / WORKSHOPS_TABLE),
            "hub": {
                "url": self.hub_url,
                "base_url": self.base_url,
                "public_url": self.public_url,
                "token_file": str(self.path / "workshops.token"),
            },
            "link": {"socket": str(self.link_workshops_socket)},
            "trainers": {"people": [*PEOPLE, ADMIN, TRAINER]},
            "joining": {"sender": "workshops@demo.example", "folder": str(self.mailbox)},
        }
        return self._write_yaml("workshops.yaml", content)

    def _access(self, cluster: Running, factory: Factory) -> dict[str, Any]:
        access = {
            **cluster.access_fields(),
            "environments": [environment(self.programs).model_dump(mode="json")],
            "job_account": factory.account_example,
        }
        if cluster.root:
            accounts = {person: f"fg-{person}" for person in PEOPLE}
            access["accounts"] = {person: name for person, name in accounts.items() if name in cluster.accounts}
        elif re.fullmatch(r"/[A-Za-z0-9_./-]*", str(self.path)):  # otherwise the folder is in the account's own home
            home = self.path / "home"
            home.mkdir(mode=0o700, exist_ok=True)
            access |= {"session_folder": str(home / ".factorygate"), "notebook_folder": {"path": str(home)}}
        return access

    def _write_yaml(self, name: str, content: Mapping[str, Any]) -> Path:
        write_private(self.path / name, yaml.safe_dump(dict(content), sort_keys=False))
        return self.path / name

    # --- programs

    def provider(self, environ: Mapping[str, str]) -> Program:
        """Return the program of the login provider."""
        return demo_login.provider(install.provider(self.programs), self.ports.provider, self.path, environ)

    def proxy(self, environ: Mapping[str, str]) -> Program:
        """Return the program of the proxy, which runs separately from the hub.

        The proxy's token is in the program's environment variables, which only the program's user can read.
        """
        ports = self.ports
        argv = (
            str(install.node(Path(sys.executable))),
            *("--require", str(install.CHECKOUT / "hub_config" / "proxy" / "cut.cjs")),
            str(self.programs / "node/node_modules/configurable-http-proxy/bin/configurable-http-proxy"),
            *("--ip", "127.0.0.1", "--port", str(ports.public)),
            *("--api-ip", "127.0.0.1", "--api-port", str(ports.proxy_api)),
            *("--metrics-ip", "127.0.0.1", "--metrics-port", str(ports.proxy_metrics)),
            # A new proxy without routes sends all requests to the hub, which makes a browser try again.
            *("--default-target", self.hub_url, "--error-path", str(install.CHECKOUT / "hub_config" / "error")),
        )
        env = {**environ, "CONFIGPROXY_AUTH_TOKEN": self.secret("proxy")}
        return Program("proxy", argv, self.path, env, self.path / "log" / "proxy.log")

    def hub(self, environ: Mapping[str, str]) -> Program:
        """Return the program of JupyterHub."""
        argv = (
            *(sys.executable, "-m", "jupyterhub"),
            *("-f", str(install.CHECKOUT / "hub_config" / "jupyterhub_config.py")),
        )
        env = {**environ, "FACTORYGATE_HUB_CONFIG": str(self.path / "hub.yaml")}
        return self._clocked("hub", argv, env)

    def link(self, environ: Mapping[str, str]) -> Program:
        """Return the program of the link."""
        argv = (sys.executable, "-m", "factorylink", "--config", str(self.path / "link.yaml"))
        return self._clocked("link", argv, environ)

    def workshops(self, environ: Mapping[str, str]) -> Program:
        """Return the program of the workshops service."""
        argv = (sys.executable, "-m", "workshops", "--config", str(self.path / "workshops.yaml"))
        return self._clocked("workshops", argv, environ)

    def _clocked(self, name: str, argv: tuple[str, ...], env: Mapping[str, str]) -> Program:
        log = self.path / "log" / f"{name}.log"
        return Program(name, argv, self.path / name, env, log, late_env=lambda: clock.environment(self.path, name))


def environment(programs: Path) -> Environment:
    """Return the catalogue's description of the notebooks' environment, with the packages installed in it."""
    places = (*programs.glob("notebook/lib/python3*/site-packages"), pytorch.module(programs / "pytorch"))
    folders = [str(path) for path in places]
    found = {
        distribution.name.lower(): distribution.version
        for distribution in importlib.metadata.distributions(path=folders)
        if distribution.name.lower() in SHOWN
    }
    return Environment(
        id="python",
        title=f"Python {sys.version_info.major}.{sys.version_info.minor} with NumPy, pandas, Matplotlib and Dask",
        kind="venv",
        python=str(programs / "notebook" / "bin" / "python"),
        frameworks=tuple(f"{name} {found[name]}" for name in SHOWN if name in found),
        architecture="aarch64" if platform.machine() == "aarch64" else "x86_64",
    )
