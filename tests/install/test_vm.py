"""From a bare Debian to a notebook with two commands, on a separate machine with real systemd and an ACME server."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from factorygate import __version__
from testbed.install import environments, system
from tests.support import operators_page
from tests.support import vm as machines
from tests.support.acme import Acme
from tests.support.gateway import eventually
from tests.support.vm import ADDRESS, DEBIAN, UBUNTU, Suite, Vm
from tests.support.vm_site import PERSON, VmSite
from tests.unit.test_releases import checkout, commit, release
from tests.unit.test_store_schemas import BEFORE_NAMES_OF_SERVERS

__all__ = ["checkout"]  # a fixture

pytestmark = [pytest.mark.long, pytest.mark.root, pytest.mark.timeout(3600)]

CHECKOUT = Path(__file__).parents[2]
DOMAIN = "gateway.example.org"
INSTALL = str(CHECKOUT / "bin" / "factorygate-install")
OF_THE_TEST = ("--acme", Acme.directory, "--acme-root", Acme.root)  # options that only the tests need
PYTHON = str(environments.program_folder() / "notebook/bin/python")  # the Python of notebooks at the factory
SITE, GATEWAY = "10.99.7.2", "10.99.7.1"  # addresses in a network between only these two machines
PROVIDER = "sso.example.org"
PROVIDERS_SITE = f"""
{PROVIDER} {{
	tls ops@example.org {{
		ca {Acme.directory}
		ca_root /etc/caddy/providers-acme-root.pem
	}}
	reverse_proxy 127.0.0.1:9400
}}
"""
HUB_BY_HAND = """\
public_url: http://127.0.0.1:8000
proxy_token_file: proxy-token
link_socket: /run/factorygate/link.sock
service_token_file: service-token
db_file: /var/lib/factorygate/hub/jupyterhub.sqlite
cookie_secret_file: /var/lib/factorygate/hub/cookie_secret
admin_token_file: admin-token
extra_config: extra.py
workshops: {socket: /run/factorygate-workshops/workshops.sock, token_file: workshops-token}
"""
LINK_BY_HAND = """\
catalogue: /etc/factorygate/factories
state_dir: /var/lib/factorygate/link
socket: /run/factorygate/link.sock
hub: {token_file: service-token}
workshops: {table: /var/lib/factorygate/shared/workshops-projects.json, pools: workshop-pools.yaml,
            socket: /run/factorygate/link-workshops.sock}
factories: {}
"""
WORKSHOPS_BY_HAND = """\
state_dir: /var/lib/factorygate/workshops
socket: /run/factorygate-workshops/workshops.sock
pools: workshop-pools.yaml
table: /var/lib/factorygate/shared/workshops-projects.json
hub: {public_url: "http://127.0.0.1:8000", token_file: workshops-token}
link: {socket: /run/factorygate/link-workshops.sock}
"""
SERVICES = ("factorygate-link", "factorygate-workshops", "factorygate-hub", "factorygate-proxy")
LATER = "9.8.7"  # the version of a release after this one
LONGEST_BOOT = 10.0  # seconds until https answers
KEPT = ("/etc/factorygate", "/etc/systemd/system", "/etc/caddy", "/usr/local/bin", "/opt/factorygate/current")
# Texts in the output at which a run is killed, in their order.
STEPS = ("installing", "secrets/proxy-token", "Building release", "factorygate-link.service was started")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = system.missing(machines.NEEDS)
    problem = system.install(missing) if missing else ""
    if problem:
        pytest.skip(f"needs {', '.join(missing)}: {problem}")
    return tmp_path_factory.mktemp("vm")


@contextmanager
def bare(folder: Path, name: str, suite: Suite = DEBIAN) -> Iterator[Vm]:
    """Make a bare system with a network, and yield it without booting it; remove it at the end."""
    tar = machines.bare_system(environments.program_folder() / "bare", suite)
    shown = dict.fromkeys((CHECKOUT, environments.program_folder(), Path(sys.prefix)))
    made = Vm(folder / name, tar, f"fgvm-{os.getpid()}-{name}", tuple(shown))
    try:
        made.connect()
        yield made
    finally:
        made.remove()


@contextmanager
def reachable(folder: Path, name: str, suite: Suite = DEBIAN) -> Iterator[Vm]:
    """Start and yield a bare system whose domain name resolves to itself, with an ACME server that it trusts."""
    with bare(folder, name, suite) as made:
        (made.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{ADDRESS} {DOMAIN}\n")
        acme = Acme(made, folder / f"acme-{name}")
        made.boot()
        acme.trust()
        yield made


@pytest.fixture(scope="module")
def machine(folder: Path) -> Iterator[Vm]:
    """Return the machine on which the gateway is installed."""
    with reachable(folder, "gateway") as made:
        yield made


@pytest.fixture(scope="module")
def site(folder: Path, machine: Vm) -> Iterator[VmSite]:
    """Return a Slurm with one node behind sshd on another machine."""
    with bare(folder, "site") as made:
        made.join(SITE, machine, GATEWAY)
        opened = VmSite(made, SITE)
        opened.open()
        yield opened


def in_catalogue(machine: Vm, site: VmSite, name: str) -> None:
    """Add an entry for the site to the gateway's catalogue; ``name``: the id of the factory."""
    machine.run(
        *("install", "-m", "640", "-g", "factorygate", "/dev/stdin", f"/etc/factorygate/factories/{name}.yaml"),
        stdin=site.entry(name),
    )


def install(machine: Vm, *options: str) -> subprocess.CompletedProcess[str]:
    return machine.run(INSTALL, *options, check=False, timeout=1800)


def visitor(machine: Vm, *words: str) -> dict[str, object]:
    """Run a command of ``tests.support.vm_visitor``, which acts as a person, on the machine; return its result."""
    env = {"PYTHONPATH": f"{CHECKOUT}:{CHECKOUT}/spawners", "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}
    done = machine.run(sys.executable, "-m", "tests.support.vm_visitor", *words, env=env, timeout=600)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def first_command() -> list[str]:
    """Return the first command of docs/operators.md, with options for the tests' own certificate authority."""
    program, *options = operators_page.two_commands()[0]
    return [str(CHECKOUT / program), *options, *OF_THE_TEST]


def times(machine: Vm) -> str:
    """Return every file of the gateway with its modification time, mode and owner, as text."""
    return machine.run("find", *KEPT, "-printf", "%p %T@ %m %u\n").stdout


def killed_at(machine: Vm, step: str) -> None:
    """Start ``first_command``; when it prints the given step, kill it and all its processes with SIGKILL."""
    argv = machine.argv(*first_command())
    with subprocess.Popen(
        argv, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, start_new_session=True
    ) as run:
        assert run.stderr is not None
        said = []
        for line in run.stderr:
            said.append(line)
            if step in line:
                os.killpg(run.pid, signal.SIGKILL)
                return
        run.wait()
    pytest.fail(f"it never came to {step!r}: {''.join(said)[-2000:]}")


def test_from_nothing_to_https(machine: Vm) -> None:
    """Run the first command of docs/operators.md, kill it at four places, then run it to its end."""
    for step in STEPS:
        killed_at(machine, step)
    done = install(machine)  # uses the options that the killed runs have stored
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "Nothing is wrong." in done.stdout
    assert "WRONG" not in done.stdout


def test_people_log_in_by_https(machine: Vm) -> None:
    machine.run("rm", "/etc/factorygate/secrets/passwords.json")
    said = install(machine).stderr
    found = re.search(r"name ada, password (\S+)", said)
    assert found is not None, said
    seen = visitor(machine, "login", found[1])
    assert seen == {"status": 200, "hsts": "max-age=31536000", "secure": True, "inside": [404, 404]}


def test_a_second_run_changes_nothing(machine: Vm) -> None:
    before, started = times(machine), starts(machine)
    done = machine.run(*first_command(), check=False, timeout=1800)
    assert done.returncode == 0
    assert "Nothing was changed." in done.stderr
    assert (times(machine), starts(machine)) == (before, started)


def starts(machine: Vm) -> str:
    units = (*SERVICES, "caddy", "systemd-journald")
    return machine.run("systemctl", "show", "--property=MainPID,ActiveEnterTimestampMonotonic", *units).stdout


def test_the_services_are_confined(machine: Vm) -> None:
    for unit in SERVICES:
        said = machine.run("systemd-analyze", "security", "--no-pager", unit).stdout
        found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
        assert found is not None
        assert float(found[1]) <= 4.0
        pid = machine.run("systemctl", "show", "--property=MainPID", "--value", unit).stdout.strip()
        status = machine.run("cat", f"/proc/{pid}/status").stdout
        assert re.search(r"^CapEff:\s*0+$", status, re.MULTILINE), status
        assert re.search(r"^Seccomp:\s*2$", status, re.MULTILINE), status


def test_workshops_answer_and_nothing_stops_with_them(machine: Vm) -> None:
    health = ("curl", "--silent", "--fail", f"https://{DOMAIN}/services/workshops/health")
    assert machine.run(*health).stdout == '{"status":"ok"}'
    assert "WORKSHOP" in machine.run("factorygate", "workshops", "list").stdout
    machine.run("systemctl", "stop", "factorygate-workshops")
    others = [unit for unit in SERVICES if unit != "factorygate-workshops"]
    assert machine.run("systemctl", "is-active", *others).stdout.split() == ["active"] * len(others)
    assert answers(machine)
    machine.run("systemctl", "restart", "factorygate-link")  # removes the folder of the link's socket
    machine.run("systemctl", "start", "factorygate-workshops")
    eventually(lambda: machine.run(*health, check=False).stdout == '{"status":"ok"}', timeout=60)
    machine.run("systemctl", "restart", "factorygate-link")
    assert "WORKSHOP" in machine.run("factorygate", "workshops", "list").stdout


def test_a_backup_is_made(machine: Vm) -> None:
    machine.run("systemctl", "start", "factorygate-backup.service")
    made = machine.run("ls", "/var/backups/factorygate").stdout.split()
    assert made
    said = machine.run("factorygate", "restore", "--list", f"/var/backups/factorygate/{made[0]}").stdout
    for name in ("jupyterhub.sqlite", "ledger.sqlite", "hub.yaml", "proxy.env", "admin-token", "passwords.json",
                 "workshops.sqlite", "workshops.yaml", "workshop-pools.yaml", "workshops-token"):  # fmt: skip
        assert name in said


def answers_of(site: VmSite, name: str, kind: str, watcher: str) -> dict[str, str | Callable[[str], str]]:
    """Return an operator's answers to the questions of the second command of docs/operators.md, by question.

    An answer is a text, or a function of the program's output. The values are those that the site has given.
    """

    def fingerprint(said: str) -> str:
        return "yes" if site.fingerprint in said else "no"

    return {
        "Which factory?": name,
        "Login hosts": site.address,
        "these fingerprints?": fingerprint,
        "How does the gateway log in": kind,
        "The site account that asks": watcher,
        "Whose jobs run as which site account?": f"ada={PERSON}",
        "The notebook's Python": PYTHON,
        "Who of the operators": "Grace Example",
        "Whom to ask there": "support@example.org",
    }


def public_key(said: str) -> str:
    """Return the last public key in a program's output ``said``."""
    return re.findall(r"^  (ssh-ed25519 \S+)", said, re.MULTILINE)[-1]


@pytest.mark.parametrize("kind", ["ca", "wrapper"])
def test_a_site_that_lets_the_gateway_in_by_other_ways(machine: Vm, site: VmSite, kind: str) -> None:
    """Follow site/README.md for the other kinds of access, up to the doctor; then restore the gateway."""
    name, watcher = f"tiny-{kind}", {"ca": PERSON, "wrapper": "factorygate"}[kind]
    in_catalogue(machine, site, name)
    before = machine.run("cat", "/etc/factorygate/link.yaml").stdout

    def let_in(said: str) -> str:
        if kind == "ca":
            site.trust_ca(public_key(said))
        else:
            site.authorize(public_key(said), watcher)
        site.configure_sshd(kind)
        return "yes"

    answers = answers_of(site, name, kind, watcher) | {"Has the site added the key?": let_in}
    try:
        assert f"{name}: all is well." in machine.talk(answers, *operators_page.two_commands()[1])
    finally:
        where = "/etc/factorygate/link.yaml"
        machine.run("install", "-m", "640", "-g", "factorygate", "/dev/stdin", where, stdin=before)
        machine.run("rm", f"/etc/factorygate/factories/{name}.yaml")
        machine.run("systemctl", "restart", "factorygate-link")


def test_the_first_factory_and_a_notebook(machine: Vm, site: VmSite) -> None:
    """Run the second command of docs/operators.md at a terminal."""
    in_catalogue(machine, site, "tiny")

    def add_key(said: str) -> str:
        site.authorize(public_key(said))
        return "yes"

    answers = answers_of(site, "tiny", "key", PERSON) | {"Has the site added the key?": add_key}
    assert "tiny: all is well." in machine.talk(answers, *operators_page.two_commands()[1])
    assert machine.run("factorygate", "check").stdout.endswith("Nothing is wrong.\n")
    assert visitor(machine, "cell", "print(6 * 7)")["printed"] == "42\n"


@pytest.mark.usefixtures("site")
def test_a_reboot_takes_seconds_and_no_session(machine: Vm) -> None:
    seen = visitor(machine, "cell", "kept = 41\nprint(kept + 1)")
    machine.halt()
    clock = BootClock(machine)
    machine.boot(whole=False)
    took = eventually(lambda: answers(machine) and clock.seconds(), timeout=300, every=0.1)
    print(f"https {took:.1f} s after power on, {clock.undisturbed(took):.1f} s without this machine's other work")
    assert clock.undisturbed(took) < LONGEST_BOOT
    later = visitor(machine, "kernel", str(seen["kernel"]), "print(kept + 1)")
    assert later == {"server": True, "printed": "42\n"}
    assert machine.run("factorygate", "check", check=False).returncode == 0


class BootClock:
    """Measures how long a boot takes, and how much of this machine's CPU time other processes used meanwhile."""

    def __init__(self, machine: Vm) -> None:
        self._machine = machine
        self._began = time.monotonic()
        self._own, self._all = machine.cpu_seconds(), _busy_seconds()

    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._began

    def undisturbed(self, took: float) -> float:
        """Return how long the boot would have taken with all processors for itself; ``took``: the measured seconds."""
        others = (_busy_seconds() - self._all) - (self._machine.cpu_seconds() - self._own)
        return took * max(0.0, 1 - max(0.0, others) / ((os.cpu_count() or 1) * took))


def _busy_seconds() -> float:
    """Return the CPU time that all processors of this machine have spent on work."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _waiting, interrupts, soft, *_ = map(int, file.readline().split()[1:])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def answers(machine: Vm) -> bool:
    return machine.run("curl", "--silent", "--fail", f"https://{DOMAIN}/hub/health", check=False).returncode == 0


@pytest.mark.usefixtures("site")
def test_a_session_outlives_all_services(machine: Vm) -> None:
    seen = visitor(machine, "cell", "kept = 41\nprint(kept + 1)")
    units = (*SERVICES, "caddy")
    machine.run("systemctl", "kill", "--signal=SIGKILL", *units)
    machine.run("systemctl", "restart", "--no-block", *units)
    eventually(lambda: answers(machine), timeout=60)
    later = visitor(machine, "kernel", str(seen["kernel"]), "print(kept + 1)")
    assert later == {"server": True, "printed": "42\n"}


SET_BACK = """
import sqlite3, sys
for file, number in zip(sys.argv[1::2], sys.argv[2::2]):
    with sqlite3.connect(file) as database:
        (was,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
        if number:
            database.execute("UPDATE alembic_version SET version_num = ?", (number,))
    database.close()
    print(was)
"""
HUB_DATABASE, LEDGER = "/var/lib/factorygate/hub/jupyterhub.sqlite", "/var/lib/factorygate/link/ledger.sqlite"


def numbers(machine: Vm, hub: str = "", ledger: str = "") -> list[str]:
    """Return the schema versions of the hub's database and of the ledger, then set those that are given."""
    argv = ("runuser", "-u", "factorygate", "--", "python3", "-c", SET_BACK, HUB_DATABASE, hub, LEDGER, ledger)
    return machine.run(*argv).stdout.split()


@pytest.mark.usefixtures("site")
def test_databases_whose_number_was_set_back_are_migrated_at_the_start(machine: Vm) -> None:
    seen = visitor(machine, "cell", "kept = 41\nprint(kept + 1)")
    today = numbers(machine)
    units = ("factorygate-hub", "factorygate-link")
    machine.run("systemctl", "stop", *units)
    before = [BEFORE_NAMES_OF_SERVERS, f"{int(today[1]) - 1:04}"]
    numbers(machine, *before)
    assert numbers(machine) == before
    machine.run("systemctl", "reset-failed", *units)
    machine.run("systemctl", "start", *units)
    eventually(lambda: answers(machine), timeout=120)
    later = visitor(machine, "kernel", str(seen["kernel"]), "print(kept + 1)")
    assert later == {"server": True, "printed": "42\n"}
    assert numbers(machine) == today
    shown = machine.run("systemctl", "show", "--property=NRestarts,ActiveState", *units).stdout.split()
    assert sorted(shown) == ["ActiveState=active"] * 2 + ["NRestarts=0"] * 2
    for file, number in zip((HUB_DATABASE, LEDGER), before, strict=True):
        assert machine.run("stat", "--format=%a %U", f"{file}.at-{number}").stdout == "600 factorygate\n"


@pytest.fixture(scope="module")
def archive(checkout: Path) -> Path:
    """Return the archive that ``bin/release`` makes of the next version, with its sums in the same folder."""
    assert release(checkout, "--set", LATER).returncode == 0
    (checkout / "CHANGELOG.md").write_text(f"# Changes\n\n## {LATER}\n\n- All.\n")
    commit(checkout)
    made = release(checkout)
    assert made.returncode == 0, made.stderr
    return checkout / "dist" / f"factorygate-{LATER}.tar.gz"


@pytest.mark.usefixtures("site")
def test_another_release_and_the_way_back_lose_nothing(machine: Vm, archive: Path) -> None:
    for file in (archive, archive.with_name("SHA256SUMS")):
        shutil.copy(file, machine.root / "root")
    seen = visitor(machine, "cell", "kept = 41\nprint(kept + 1)")
    assert version_of(machine) == __version__
    done = machine.run("factorygate", "upgrade", f"/root/factorygate-{LATER}.tar.gz", "--yes", timeout=1800)
    assert f"Release {LATER} is in use. 1 session continues." in done.stdout
    assert version_of(machine) == LATER
    done = machine.run("/opt/factorygate/current/bin/factorygate-install", timeout=1800)
    assert "Nothing was changed." in done.stderr
    later = visitor(machine, "kernel", str(seen["kernel"]), "print(kept + 1)")
    assert later == {"server": True, "printed": "42\n"}
    assert f"Release {__version__} is in use." in machine.run("factorygate", "upgrade", "--back", "--yes").stdout
    assert version_of(machine) == __version__
    later = visitor(machine, "kernel", str(seen["kernel"]), "print(kept + 1)")
    assert later == {"server": True, "printed": "42\n"}


def version_of(machine: Vm) -> str:
    """Return the version that the status page shows."""
    found = json.loads(machine.run("curl", "--silent", "--fail", f"https://{DOMAIN}/hub/status.json").stdout)
    return str(found["version"])


@contextmanager
def provider(machine: Vm, people: Mapping[str, str]) -> Iterator[None]:
    """Start a login provider on the machine, with its own name and certificate. ``people``: mail address by name."""
    claims = [json.dumps({"sub": name, "email": mail, "email_verified": True}) for name, mail in people.items()]
    known = [word for one in claims for word in ("--user-claims", one)]
    machine.beside(sys.executable, "-m", "oidc_provider_mock", *known)
    with (machine.root / "etc/hosts").open("a") as hosts:
        hosts.write(f"{ADDRESS} {PROVIDER}\n")
    file = machine.root / "etc/caddy/Caddyfile"
    before = file.read_text()
    file.write_text(before + PROVIDERS_SITE)
    machine.run("install", "-m", "644", Acme.root, "/etc/caddy/providers-acme-root.pem")
    machine.run("systemctl", "reload", "caddy")
    discovery = f"https://{PROVIDER}/.well-known/openid-configuration"
    eventually(lambda: machine.run("curl", "--silent", "--fail", discovery, check=False).returncode == 0, timeout=120)
    try:
        yield
    finally:
        file.write_text(before)
        machine.run("systemctl", "reload", "caddy")


def test_people_log_in_at_a_provider(machine: Vm) -> None:
    """The installer runs with ``--login oidc`` on the machine of the earlier tests."""
    people = {"ada": "ada@example.org", "grace": "grace@example.org", "eve": "eve@example.net"}
    (machine.root / "root/client.secret").write_text("secret\n")
    with provider(machine, people):
        done = install(
            machine,
            *("--login", "oidc", "--admin", people["ada"], "--allow", "email=*@example.org"),
            *("--oidc-issuer", f"https://{PROVIDER}", "--oidc-client", "gateway"),
            *("--oidc-secret-file", "/root/client.secret"),
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        assert "Nothing is wrong." in done.stdout
        for name, status, operator in (("ada", 200, 200), ("grace", 200, 403), ("eve", 403, None)):
            seen = visitor(machine, "oidc", name)
            assert (seen["status"], seen["operator"]) == (status, operator), (name, seen)
        assert "Nothing was changed." in install(machine).stderr


def test_uninstall_keeps_the_data_and_purge_removes_it(machine: Vm) -> None:
    program = "/opt/factorygate/current/venv/bin/factorygate-install"
    assert "add --yes" in machine.run(program, "uninstall", "--purge", check=False).stderr
    token = machine.run("cat", "/etc/factorygate/secrets/proxy-token").stdout
    machine.run(program, "uninstall")
    assert machine.run("systemctl", "is-active", "factorygate-hub", check=False).stdout.strip() == "inactive"
    assert machine.run("test", "-e", "/opt/factorygate/current", check=False).returncode == 1
    assert machine.run("cat", "/etc/factorygate/secrets/proxy-token").stdout == token
    done = install(machine)
    assert done.returncode == 0, done.stderr[-3000:]
    assert machine.run("cat", "/etc/factorygate/secrets/proxy-token").stdout == token
    machine.run(program, "uninstall", "--purge", "--yes")
    left = machine.run("find", "/etc/factorygate", "/var/lib/factorygate", "/opt/factorygate/releases", check=False)
    assert left.stdout == ""


def test_the_way_by_hand(machine: Vm) -> None:
    """Follow the section *By hand* of docs/operators.md on a machine that has what the section requires."""
    for words in (("update",), ("install", "-y", "--no-install-recommends", "curl", "python3-venv")):
        machine.run("apt-get", "-qq", *words, env={"DEBIAN_FRONTEND": "noninteractive"})
    machine.run("bash", "-ec", f"cd {CHECKOUT}\n{operators_page.by_hand(__version__)}", timeout=1800)
    tokens = {name: secrets.token_hex(32) for name in ("proxy", "service", "workshops", "admin")}
    written = {
        "hub.yaml": HUB_BY_HAND,
        "link.yaml": LINK_BY_HAND,
        "workshops.yaml": WORKSHOPS_BY_HAND,
        "workshop-pools.yaml": "pools: []\n",
        "extra.py": "c.JupyterHub.authenticator_class = 'dummy'\n",
        "proxy.env": f"CONFIGPROXY_AUTH_TOKEN={tokens['proxy']}\n",
        "restore-routes.header": f"Authorization: token {tokens['admin']}\n",
        **{f"{name}-token": f"{token}\n" for name, token in tokens.items()},
    }
    for name, text in written.items():
        to = (*("install", "-m", "600", "-o", "factorygate", "/dev/stdin"), f"/etc/factorygate/{name}")
        machine.run(*to, stdin=text)
    program = "/opt/factorygate/current/venv/bin/factorygate"
    said = machine.run(program, "check", check=False).stdout
    assert said.endswith("Nothing is wrong.\n"), said
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", "--now", *SERVICES, "factorygate-backup.timer")
    own = ("curl", "--silent", "--fail", "http://127.0.0.1:8000/hub/status.json")
    found = eventually(lambda: machine.run(*own, check=False).stdout, timeout=120)
    assert (json.loads(found)["version"], json.loads(found)["hub"]) == (__version__, "ok")
    eventually(lambda: json.loads(machine.run(*own).stdout)["link"] == "ok", timeout=60)
    said = machine.run(program, "check", check=False).stdout
    assert said.endswith("Nothing is wrong.\n"), said
    machine.run("systemctl", "start", "factorygate-backup.service")
    assert machine.run("ls", "/var/backups/factorygate").stdout.split()


# For a machine with another Python than that of the tests.
LOG_IN = """
curl --silent --fail --output /dev/null --cookie-jar /tmp/jar "$1/hub/login"
xsrf=$(awk '$6 == "_xsrf" { print $7 }' /tmp/jar | tail -n 1)
curl --silent --location --output /dev/null --cookie /tmp/jar --cookie-jar /tmp/jar \
  --data-urlencode username=ada --data-urlencode "password=$2" --data-urlencode "_xsrf=$xsrf" \
  --write-out '%{http_code} %{url_effective}' "$1/hub/login?next="
"""


def test_the_page_holds_on_ubuntu_and_for_an_archive(folder: Path, archive: Path) -> None:
    """The first command of docs/operators.md works on a bare Ubuntu 24.04 with an unpacked release archive.

    A person can log in by https; a second run changes nothing, and purge leaves nothing.
    """
    try:
        machines.bare_system(environments.program_folder() / "bare", UBUNTU)
    except RuntimeError as error:
        pytest.skip(f"needs Ubuntu's archive: {error}")
    with reachable(folder, "ubuntu", UBUNTU) as machine:
        subprocess.run(["tar", "-xzf", archive, "-C", machine.root / "root"], check=True)
        program = f"/root/factorygate-{LATER}/bin/factorygate-install"
        done = machine.run(program, *first_command()[1:], check=False, timeout=1800)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        assert "Nothing is wrong." in done.stdout
        assert version_of(machine) == LATER
        assert "Ubuntu 24.04" in done.stderr
        found = re.search(r"name ada, password (\S+)", done.stderr)
        assert found is not None
        seen = machine.run("bash", "-ec", LOG_IN, "-", f"https://{DOMAIN}", found[1]).stdout
        assert seen.startswith(f"200 https://{DOMAIN}/hub/")
        assert "/login" not in seen
        for same in (program, "/opt/factorygate/current/bin/factorygate-install"):
            assert "Nothing was changed." in machine.run(same, timeout=1800).stderr
        for unit in SERVICES:
            said = machine.run("systemd-analyze", "security", "--no-pager", unit).stdout
            exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
            assert exposure is not None
            assert float(exposure[1]) <= 4.0
        machine.run("/opt/factorygate/current/bin/factorygate-install", "uninstall", "--purge", "--yes")
        left = machine.run("find", "/etc/factorygate", "/var/lib/factorygate", "/opt/factorygate/releases", check=False)
        assert left.stdout == ""
