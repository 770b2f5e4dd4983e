"""``factorygate factory add``: asks for a new factory's values, writes link.yaml, and tests the connection."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import asyncssh

from factorycommon.models import Factory
from factorycommon.service.yaml_file import CatalogueError
from factorylink.catalogue import catalogue as federation
from factorylink.catalogue.loading import load_link_config, offered
from factorylink.config import LinkConfig
from factorylink.util import yaml_edit

_VARIABLE = "FACTORYGATE_LINK"
_UNIT = "factorygate-link.service"
_CONNECT_SECONDS = 15
_SSH_PORT = 22
_KINDS = ("key", "ca", "wrapper")
# Kinds of host keys, the preferred first. A host shows one key in each connection, and the site may publish the
# fingerprint of another.
_ALGORITHMS = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256"),
)


def add(commands: Any) -> None:
    """Add the command ``add`` to the subparsers of ``factory``."""
    command: argparse.ArgumentParser = commands.add_parser(
        "add", help="offer a factory: asks what it needs, writes link.yaml, and tries the whole way there"
    )
    command.add_argument("factory", nargs="?", metavar="ID", help="of the catalogue")
    command.add_argument(
        "--link", type=Path, default=os.environ.get(_VARIABLE, "link.yaml"), help=f"link.yaml; else of ${_VARIABLE}"
    )
    command.add_argument("--host", action="append", metavar="HOST[:PORT]", help="a login host; may be repeated")
    command.add_argument("--fingerprint", metavar="SHA256:…", help="of the login hosts' key, as the site publishes it")
    command.add_argument(
        "--host-key", action="append", metavar="KEY", help="the key itself, in place of --fingerprint; may be repeated"
    )
    command.add_argument("--watcher", metavar="ACCOUNT", help="the site account that asks the scheduler about all jobs")
    command.add_argument(
        "--account", action="append", metavar="PERSON=ACCOUNT", help="a person's site account; may be repeated"
    )
    command.add_argument("--pool", action="append", metavar="ACCOUNT", help="for all others; may be repeated")
    command.add_argument("--credentials", choices=_KINDS, help="how the gateway logs in there")
    command.add_argument(
        "--key", type=Path, metavar="FILE", help="a private key that the site knows already; else one is made"
    )
    command.add_argument("--python", metavar="PATH", help="the Python with factorygate[notebook], at the factory")
    command.add_argument("--job-account", metavar="NAME", help="the scheduler's account that pays")
    command.add_argument("--job-qos", metavar="NAME", help="the scheduler's QOS")
    command.add_argument("--agreed-by", metavar="NAME", help="who of the site's operators agreed")
    command.add_argument("--contact", metavar="ADDRESS", help="whom to ask there")
    command.add_argument("--agreed-on", type=date.fromisoformat, metavar="DAY", help="when; else today")
    command.add_argument(
        "--allow", action="append", metavar="ACT", help="what the agreement allows although the site's rules do not"
    )
    command.add_argument("--testbed", action="store_true", help="a factory of a testbed, which needs no agreement")
    command.add_argument("--no-doctor", action="store_true", help="do not try the way with a real job")
    command.add_argument("--wait", default="10", metavar="MINUTES", help="for the doctor's job to start (10)")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Run the command; return its exit code: the doctor's, or 0 if the doctor was not run. Raises CatalogueError."""
    config = load_link_config(options.link)
    if not config.state_dir.is_dir():
        raise CatalogueError([f"{config.state_dir} is not there: start the link once, then run this again"])
    entry = _entry(config, options)
    access, key_is_new = _access(config, entry, options)
    _write(options, config, entry, access)
    _say(f"{options.link} has {entry.id} now.")
    _restart()
    if options.no_doctor or (key_is_new and not _site_is_ready()):
        _say(f"Next: factorygate doctor {entry.id}")
        return 0
    return _doctor(options, entry.id)


# --- questions


def _entry(config: LinkConfig, options: argparse.Namespace) -> Factory:
    factories = federation.load(config.catalogue).factories
    free = [name for name in factories if name not in config.factories]
    wanted = options.factory or _ask(f"Which factory? {', '.join(free)}", "ID")
    if wanted in config.factories:
        raise CatalogueError([f"{wanted}: {options.link} has it already"])
    if wanted not in factories:
        raise CatalogueError([f"{wanted}: not in {config.catalogue}; there are: {', '.join(free)}"])
    return factories[wanted]


def _access(config: LinkConfig, entry: Factory, options: argparse.Namespace) -> tuple[dict[str, object], bool]:
    """Return the factory's entry for link.yaml, and whether a key was made that the site does not know yet.

    ``entry``: the factory's entry in the catalogue. Asks the person at the terminal for what the options leave out.
    Raises CatalogueError.
    """
    hosts = options.host or _words(
        _ask(f"Login hosts (HOST or HOST:PORT){_known(entry.site.login_hosts)}", "--host", entry.site.login_hosts)
    )
    keys = _host_keys(entry, hosts, options)
    kind = options.credentials or _ask(
        f"How does the gateway log in: {', '.join(_KINDS)} (key)", "--credentials", "key"
    )
    if kind not in _KINDS:
        raise CatalogueError([f"--credentials {kind!r}; allowed: {', '.join(_KINDS)}"])
    watcher = options.watcher or _ask("The site account that asks the scheduler about all jobs", "--watcher")
    accounts = _accounts(options, config)
    access: dict[str, object] = {}
    if accounts:
        access["accounts"] = accounts
    if options.pool:
        access["account_pool"] = options.pool
    job_account = options.job_account or (
        _ask("The scheduler's account that pays", "--job-account") if entry.account_mandatory else None
    )
    access |= {name: value for name, value in (("job_account", job_account), ("job_qos", options.job_qos)) if value}
    needed = [watcher, *accounts.values(), *(options.pool or ())]
    transport: dict[str, object] = {"kind": "ssh", "hosts": hosts}
    if keys:
        transport["host_keys"] = keys
    transport["watcher"] = watcher
    transport["credentials"], key_is_new = _credentials(config, entry.id, kind, needed, options.key)
    access["transport"] = transport
    live = [environment for environment in entry.environments if environment.state == "live"]
    python = options.python or (None if live else _ask("The notebook's Python at the factory (full path)", "--python"))
    if python:
        access["environments"] = [{"id": "python", "title": "Python", "kind": "venv", "python": python}]
    if options.testbed:
        access["testbed"] = True
    return access, key_is_new


def _accounts(options: argparse.Namespace, config: LinkConfig) -> dict[str, str]:
    given = options.account
    if given is None and not options.pool and config.projects is None:
        given = _words(_ask("Whose jobs run as which site account? PERSON=ACCOUNT, with blanks between", "--account"))
    pairs = [text.partition("=") for text in given or ()]
    wrong = [person for person, equals, account in pairs if not (person and equals and account)]
    if wrong:
        raise CatalogueError([f"--account {person!r}: write PERSON=ACCOUNT" for person in wrong])
    return {person: account for person, _, account in pairs}


def _host_keys(entry: Factory, hosts: Sequence[str], options: argparse.Namespace) -> list[str]:
    """Return the host keys to pin in link.yaml: those of ``--host-key``, or else one key for each host.

    Without ``--host-key``, the list has each key once, and is empty if the catalogue has host keys or host CAs of the
    site. With ``--fingerprint``, each host must show a key that has this fingerprint; without it, the operator is asked
    whether the site publishes the fingerprints of these keys. Raises CatalogueError if no key of a host has the
    fingerprint, the operator does not confirm, or a host does not answer.
    """
    if options.host_key:
        return list(options.host_key)
    if entry.site.host_keys or entry.site.host_cas:
        return []
    pinned: list[str] = []
    for host in hosts:
        keys = asyncio.run(_shown_keys(host, options.fingerprint))
        fitting = [key for key in keys if key.get_fingerprint() == options.fingerprint]
        if options.fingerprint and not fitting:
            raise CatalogueError([
                f"--fingerprint {options.fingerprint}: none of the keys of {host} has it "
                f"({', '.join(key.get_fingerprint() for key in keys)}), so this may be another machine than the "
                "site's. Ask the site; nothing was written"
            ])  # fmt: skip
        key = (fitting or keys)[0]
        line = " ".join(key.export_public_key().decode("ascii").split()[:2])
        _say(f"{host} shows the key {line.split()[0]} {key.get_fingerprint()}")
        pinned.append(line)
    confirmed = options.fingerprint or _ask("Does the site publish just these fingerprints? Type yes", "--fingerprint")
    if confirmed not in ("yes", options.fingerprint):
        raise CatalogueError(["host keys: not confirmed. Ask the site for its fingerprints; nothing was written"])
    return list(dict.fromkeys(pinned))


async def _shown_keys(host: str, fingerprint: str | None) -> list[asyncssh.SSHKey]:
    """Return the keys that a host shows, one of each kind, the preferred kind first.

    The host is asked for one kind of key after another, until it shows the key with this ``fingerprint``; so this key,
    if the host has it, is the last one. ``fingerprint`` None: return only the first key that the host shows. Raises
    CatalogueError if the host shows no key.
    """
    name, _, port = host.rpartition(":") if host.count(":") == 1 else (host, "", "")
    keys: list[asyncssh.SSHKey] = []
    said = "no host key"
    for algorithms in _ALGORITHMS:
        if keys and keys[-1].get_fingerprint() == (fingerprint or keys[-1].get_fingerprint()):
            break
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                key = await asyncssh.get_server_host_key(
                    name, int(port or _SSH_PORT), server_host_key_algs=algorithms, config=None
                )
            keys += [] if key is None else [key]
        except asyncssh.Error as error:  # the host has no key of this kind
            said = str(error)
        except (OSError, ValueError, TimeoutError) as error:
            said = str(error) or "no answer"
            break
    if not keys:
        raise CatalogueError([f"--host {host}: does not answer as an SSH server ({said})"])
    return keys


def _credentials(
    config: LinkConfig, factory: str, kind: str, accounts: Sequence[str], given: Path | None
) -> tuple[dict[str, object], bool]:
    """Return the entry ``credentials`` for link.yaml, and whether a key was made.

    The entry names private keys: existing files, copies of the key ``given``, or new ones. ``kind``: "key", "ca" or
    "wrapper"; ``accounts``: the watcher's account first, then all other site accounts. Raises CatalogueError if a key
    cannot be used.
    """
    folder = config.state_dir / "factories" / factory
    if kind == "key":
        made = [
            _key(config, folder / "keys" / account, given, f"~{account}/.ssh/authorized_keys")
            for account in dict.fromkeys(accounts)
        ]
        return {"kind": "key", "keys": str(folder / "keys")}, any(made)
    if kind == "ca":
        is_new = _key(config, folder / "ca", given, "TrustedUserCAKeys of its sshd")
        return {"kind": "ca", "key": str(folder / "ca")}, is_new
    where = f"~{accounts[0]}/.ssh/authorized_keys, as its onboarding letter says"
    is_new = _key(config, folder / "service", given, where)
    return {"kind": "wrapper", "login": accounts[0], "key": str(folder / "service")}, is_new


def _key(config: LinkConfig, path: Path, given: Path | None, where: str) -> bool:
    """Make sure that there is a private key at ``path``; return whether a key was made.

    A key that is there already is kept. Otherwise write the key of the file ``given``, readable for the link's account;
    ``given`` None: make a key, and print that the site must add its public half to ``where``. Raises CatalogueError if
    the existing file or ``given`` is no usable private key.
    """
    owner = config.state_dir.stat()
    for folder in (path.parent.parent, path.parent) if path.parent.name == "keys" else (path.parent,):
        folder.parent.mkdir(exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True, mode=0o700)
        for made in (folder.parent, folder):
            if made != config.state_dir and os.geteuid() == 0:
                os.chown(made, owner.st_uid, owner.st_gid)
    if path.exists():
        try:
            asyncssh.read_private_key(path)
        except (OSError, asyncssh.KeyImportError) as error:
            raise CatalogueError([f"{path}: is there already, and is no key for the link: {error}"]) from error
        _say(f"The key {path} is there already and is used.")
        return False
    try:
        key = asyncssh.generate_private_key("ssh-ed25519") if given is None else asyncssh.read_private_key(given)
    except (OSError, asyncssh.KeyImportError) as error:
        raise CatalogueError([f"--key {given}: cannot be used: {error}"]) from error
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if os.geteuid() == 0:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        file.write(key.export_private_key())
    if given is None:
        public = key.export_public_key().decode("ascii").strip()
        _say(f"A key was made: {path}. The site must add its public half to {where}:\n  {public}")
    return given is None


# --- writing


def _write(options: argparse.Namespace, config: LinkConfig, entry: Factory, access: dict[str, object]) -> None:
    """Write link.yaml, and the catalogue's entry if the site's agreement is new, after checking both as the link does.

    ``access``: the factory's entry for link.yaml; ``entry``: its present entry in the catalogue. If the agreement is
    new, ask the person at the terminal for what the options leave out. Raises CatalogueError if an answer is missing,
    or if the new texts are not valid together; then neither file is changed.
    """
    link: Path = options.link
    file = config.catalogue / f"{entry.id}.yaml"
    text = yaml_edit.with_entry(link.read_text(encoding="utf-8"), "factories", entry.id, access)
    agreed = None if options.testbed or entry.state == "live" else _agreement(entry, options)
    catalogue = file.read_text(encoding="utf-8")
    if agreed is not None:
        catalogue = yaml_edit.with_value(yaml_edit.with_value(catalogue, "state", "live"), "agreement", agreed)
    with tempfile.TemporaryDirectory(prefix="factorygate-") as name:
        tried = Path(name) / "factories"
        shutil.copytree(config.catalogue, tried)
        (tried / file.name).write_text(catalogue, encoding="utf-8")
        fresh = link.with_name(f".{link.name}.tried")
        try:
            fresh.write_text(text, encoding="utf-8")
            found = load_link_config(fresh)
        except CatalogueError as error:
            raise CatalogueError([problem.replace(str(fresh), str(link)) for problem in error.problems]) from error
        finally:
            fresh.unlink(missing_ok=True)
        offered(found.model_copy(update={"catalogue": tried}), federation.load(tried).factories)
    if agreed is not None:
        yaml_edit.replace(file, catalogue)
        _say(f"{file} is live: {agreed['who']} agreed on {agreed['when']}.")
    _let_link_read(file, config.state_dir)
    yaml_edit.replace(link, text)


def _let_link_read(file: Path, state_dir: Path) -> None:
    """Let the link's account read a file, if this process runs as root and the account cannot read the file yet.

    The file then belongs to the group of the link's account, and the group may read the file. ``state_dir``: the link's
    folder, whose owner and group are those of the link's account.
    """
    link, found = state_dir.stat(), file.stat()
    by_group = found.st_gid == link.st_gid and found.st_mode & stat.S_IRGRP
    if os.geteuid() != 0 or found.st_uid == link.st_uid or by_group or found.st_mode & stat.S_IROTH:
        return
    os.chown(file, -1, link.st_gid)
    file.chmod(stat.S_IMODE(found.st_mode) | stat.S_IRGRP)
    _say(f"The link's account can read {file} now.")


def _agreement(entry: Factory, options: argparse.Namespace) -> dict[str, object]:
    allows = {"allows": options.allow} if options.allow else {}
    return {
        "who": options.agreed_by or _ask(f"Who of the operators of {entry.name} agreed?", "--agreed-by"),
        "when": (options.agreed_on or datetime.now(UTC).date()).isoformat(),
        "contact": options.contact or _ask("Whom to ask there (address)", "--contact"),
        **allows,
    }


# --- after writing


def _site_is_ready() -> bool:
    """Return whether to run the doctor now: the operator's answer to the question whether the site has the key.

    If there is no terminal to ask at, return True.
    """
    if not sys.stdin.isatty():
        return True
    return _ask("Has the site added the key? Type yes to try the way now (later)", "--no-doctor", "later") == "yes"


def _restart() -> None:
    """Restart a link that runs under systemd, so that it reads its configuration again; running sessions continue.

    For any other link, ask the operator to restart it. Raises CatalogueError if the restart fails.
    """
    if (
        shutil.which("systemctl") is None
        or subprocess.run(("systemctl", "--quiet", "is-active", _UNIT), capture_output=True, check=False).returncode
    ):
        _say("Restart the link, so that it reads its file again.")
        return
    done = subprocess.run(("systemctl", "restart", _UNIT), capture_output=True, text=True, check=False)
    if done.returncode:
        raise CatalogueError([f"systemctl restart {_UNIT} failed: {done.stderr.strip()}"])


def _doctor(options: argparse.Namespace, factory: str) -> int:
    """Run the doctor in a separate process, since the doctor changes to the link's account; return its exit code."""
    argv = [sys.executable, "-m", "factorylink.cli.main", "doctor", factory, "--link", str(options.link.absolute())]
    sys.stdout.flush()
    code = subprocess.run([*argv, "--wait", options.wait], check=False).returncode
    if code:
        _say(f"Mend what it says, then: factorygate doctor {factory}. Until then people see that it does not work.")
    return code


def _ask(question: str, option: str, usual: str | Sequence[str] = ()) -> str:
    """Ask the person at the terminal; return the answer, or ``usual`` if the answer is empty or there is no terminal.

    Raises CatalogueError, which names the option to use, if ``usual`` is empty, too.
    """
    default = usual if isinstance(usual, str) else " ".join(usual)
    if not sys.stdin.isatty():
        if default:
            return default
        raise CatalogueError([f"{option}: is needed, and nobody is here to be asked ({question})"])
    sys.stdout.write(f"{question}: ")
    sys.stdout.flush()
    answer = sys.stdin.readline().strip() or default
    if not answer:
        raise CatalogueError([f"{option}: is needed; nothing was written"])
    return answer


def _known(hosts: Sequence[str]) -> str:
    return f" ({' '.join(hosts)})" if hosts else ""


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
