"""Installs a gateway on a bare machine, step by step.

Each step does only what is missing. So a run that was killed is completed by the next run, and another run of the same
release with the same options changes nothing."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from factoryinstaller import checks, files, release_sources, secrets_kept
from factoryinstaller.errors import InstallerError
from factoryinstaller.files import UNITS, WantedFile
from factoryinstaller.machine import Machine, say
from factoryinstaller.options import Options
from factoryinstaller.releases import Layout

ROOT = "/opt/factorygate"
PACKAGES = {  # Debian packages, by a file that each one contains
    "/usr/bin/caddy": "caddy",
    "/usr/bin/curl": "curl",
    "/usr/bin/git": "git",  # for the material of workshops
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}
_CADDYFILE = f"{files.CADDY}/Caddyfile"
_APT = ("apt-get", "-qq", "-oDPkg::Lock::Timeout=300")
_APT_ENV = {"DEBIAN_FRONTEND": "noninteractive"}
_ANSWER_SECONDS = 180  # seconds for the certificate and all services; Let's Encrypt needs 5 to 20
# The files that a service reads at its start. If the installer writes one of them, it restarts the service.
_READS = {
    "factorygate-link.service": (f"{files.ETC}/link.yaml", f"{files.ETC}/secrets/service-token"),
    files.WORKSHOPS_UNIT: (f"{files.ETC}/workshops.yaml", f"{files.ETC}/secrets/workshops-token"),
    "factorygate-hub.service": (
        f"{files.ETC}/hub.yaml",
        *(f"{files.ETC}/secrets/{name}" for name in (*files.TOKENS, files.OIDC_SECRET)),
    ),
    "factorygate-proxy.service": (f"{files.ETC}/proxy.env", f"{files.ETC}/restore-routes.header"),
    "caddy.service": (f"{files.CADDY}/factorygate.caddy", _CADDYFILE, files.ACME_ROOT),
    "systemd-journald.service": (files.JOURNALD,),
}


def install(machine: Machine, options: Options) -> int:
    """Install a gateway, or complete an installation. Return the exit code of ``factorygate check``.

    Raises InstallerError if a step is not possible, and OSError if a file cannot be read or written; the earlier steps
    stay done.
    """
    say(f"good  {before(machine, options)}")
    sources = release_sources.own()
    secrets, password = secrets_kept.prepare(machine, options)
    packages(machine)
    account(machine)
    for place in files.folders():
        machine.make_folder(*place)
    machine.keep_options(options.to_json())
    if password is not None:
        say(f"made  the administrator: name {options.admin}, password {password}")
    for wanted in secrets.files():
        machine.write(wanted)
    folder = build(machine, sources)
    for wanted in [*files.configuration(options, secrets.tokens), *catalogue(folder), *units(folder)]:
        machine.write(wanted)
    for line in left_to_the_operator(machine, options):
        say(f"note  {line}")
    web_server(machine, options)
    use(machine, folder)
    services(machine, options)
    wait_for_answer(options)
    code = check()
    if machine.changes:
        say(f"{len(machine.changes)} changes were made.")
    else:
        say("Nothing was changed.")
    if password is not None:
        say(f"The administrator logs in with: name {options.admin}, password {password} (it is not shown again)")
    if code == 0:
        say(f"The gateway is at {options.public_url}. Next: factorygate factory add")
    return code


# --- before anything is changed


def before(machine: Machine, options: Options) -> str:
    """Check system, machine, domain, ports and web server before anything is changed; return the results as text.

    Raises InstallerError if the operator must correct something first.
    """
    found = checks.system(machine.path("/etc/os-release").read_text(encoding="utf-8"))
    root = machine.path(ROOT)
    checks.machine(next(folder for folder in (root, *root.parents) if folder.exists()))
    remark = checks.name(options.domain, checks.resolve, checks.is_ours)
    if remark:
        say(f"note  {remark}")
    ports = {port: unit for port, unit in checks.PORTS.items() if options.workshops or unit != files.WORKSHOPS_UNIT}
    checks.ports(lambda service: machine.succeeds("systemctl", "--quiet", "is-active", service), ports)
    text = _caddyfile(machine)
    if text is not None and files.CADDY_IMPORT not in text.splitlines() and not _is_packaged(machine, text):
        raise InstallerError(
            f"{_CADDYFILE} is not as its package brought it, so it is left alone. Add the line\n"
            f"  {files.CADDY_IMPORT}\nto it by hand, then run this again."
        )
    return f"{found}; {options.domain} resolves; the ports are free, or this gateway's own"


# --- packages and accounts


def packages(machine: Machine) -> None:
    """Install each missing package of ``PACKAGES``, and ``python3-venv`` if it is missing.

    Before that, complete an installation of packages that was interrupted. Raises InstallerError.
    """
    if machine.run("dpkg", "--audit").strip():  # an earlier run was killed while it installed packages
        machine.run("dpkg", "--configure", "-a", env=_APT_ENV)
    missing = [package for program, package in PACKAGES.items() if not machine.path(program).exists()]
    if not machine.succeeds(sys.executable, "-c", "import ensurepip, venv; ensurepip.version()"):
        missing.append("python3-venv")
    missing = sorted(set(missing))
    if not missing:
        return
    say(f"now   installing {', '.join(missing)}")
    machine.run(*_APT, "update")
    machine.run(*_APT, "install", "-y", "--no-install-recommends", *missing, env=_APT_ENV)
    machine.changed(f"the packages {', '.join(missing)}")


def account(machine: Machine) -> None:
    """Create the account under which hub, link and workshops service run, if it is missing."""
    if machine.succeeds("id", files.USER):
        return
    options = ("--system", "--user-group", "--home-dir", files.VAR, "--no-create-home", "--shell", "/usr/sbin/nologin")
    machine.run("useradd", *options, files.USER)
    machine.changed(f"the account {files.USER}")


# --- the release


def releases(machine: Machine) -> Layout:
    """Return the folder of releases on this machine, /opt/factorygate."""
    return Layout(machine.path(ROOT))


def build(machine: Machine, sources: Path) -> Path:
    """Build the release of these sources unless it exists, and return its folder. Raises ReleaseError, OSError."""
    layout = releases(machine)
    found = layout.built_from(sources)
    if found is None:
        found = layout.build(sources, lambda line: say(f"now   {line}"))
        machine.changed(f"the release {found.folder}")
    return found.folder


def catalogue(folder: Path) -> Iterator[WantedFile]:
    """Yield the files of the catalogue of the release in ``folder``, to be written below /etc/factorygate.

    The operator may edit them; a later release replaces only those that nobody has changed.
    """
    config = folder / "hub_config"
    for path in sorted((*config.glob("factories/*.yaml"), config / "antennas.yaml", *config.glob("*.schema.json"))):
        text = path.read_text(encoding="utf-8")
        name = f"{files.ETC}/{path.relative_to(config)}"
        yield WantedFile(name, text, 0o640, "root", files.USER, edited_by_operator=True)


def units(folder: Path) -> Iterator[WantedFile]:
    """Yield the systemd units of the release in ``folder``, and the file that limits the journal's age and size."""
    systemd = folder / "docs/systemd"
    for name in files.UNIT_FILES:
        yield WantedFile(f"{files.SYSTEMD}/{name}", (systemd / name).read_text(encoding="utf-8"))
    yield WantedFile(files.JOURNALD, (systemd / "journald-factorygate.conf").read_text(encoding="utf-8"))


def left_to_the_operator(machine: Machine, options: Options) -> Iterator[str]:
    """Yield what the operator must change in hub.yaml and link.yaml. Call this after the installer's files are written.

    The installer does not write a file again that the operator has changed. If the workshops service is wanted, both
    files must have a section ``workshops``; otherwise neither file may have this section.
    """
    for name in ("hub.yaml", "link.yaml"):
        text = machine.path(f"{files.ETC}/{name}").read_text(encoding="utf-8")
        if bool(re.search(r"^workshops:", text, re.MULTILINE)) != options.workshops:
            lines = "\n".join(f"        {line}" for line in files.workshops_lines(name))
            yield f"{name} was changed by you: {'add' if options.workshops else 'remove'} these lines\n{lines}"


def use(machine: Machine, folder: Path) -> None:
    """Let the systemd units run the release in ``folder`` from their next start on. Raises ReleaseError, OSError."""
    layout = releases(machine)
    release = layout.installed_release(folder.name)
    if layout.is_current(release):
        return
    for unit in UNITS:
        machine.keep_started(unit, "")  # so the next run restarts the unit even if this run is killed before
    layout.switch(release)
    machine.changed(f"{layout.root / 'current'} -> {folder.name}")


# --- the web server


def web_server(machine: Machine, options: Options) -> None:
    """Make the web server's configuration include the gateway's site, and validate the configuration.

    A Caddyfile that does not include the site is replaced. This can only be the package's own Caddyfile: for any other
    one, the function ``before`` has raised InstallerError. The file of ``--acme-root``, if given, is copied into the
    folder of the configuration. Raises InstallerError.
    """
    if options.acme_root:
        try:
            machine.write(WantedFile(files.ACME_ROOT, Path(options.acme_root).read_text(encoding="ascii")))
        except (OSError, UnicodeDecodeError) as error:
            raise InstallerError(f"--acme-root {options.acme_root} cannot be read: {error}") from error
    text = _caddyfile(machine) or ""
    if files.CADDY_IMPORT not in text.splitlines():
        machine.write(WantedFile(_CADDYFILE, f"{files.CADDY_IMPORT}\n"))
    _validate_web_server(machine)


def _validate_web_server(machine: Machine) -> None:
    machine.run("caddy", "validate", "--adapter", "caddyfile", "--config", str(machine.path(_CADDYFILE)))


def _caddyfile(machine: Machine) -> str | None:
    try:
        return machine.path(_CADDYFILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _is_packaged(machine: Machine, text: str) -> bool:
    """Return True if the text is the Caddyfile as the distribution's package installs it."""
    known = machine.run("dpkg-query", "--show", "--showformat=${Conffiles}", "caddy")
    found = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    return f"{_CADDYFILE} {found}" in known


# --- services


def services(machine: Machine, options: Options) -> None:
    """Start those services of the gateway that do not run; restart those whose files have changed since their start.

    Caddy and the journal are started and restarted in the same way. The gateway's services, Caddy and the timer of
    backups are also set to start with the machine. If the options do not want the workshops service, it is stopped, and
    does not start with the machine. Raises InstallerError.
    """
    machine.run("systemctl", "daemon-reload")
    written = machine.written()
    wanted = [unit for unit in UNITS if options.workshops or unit != files.WORKSHOPS_UNIT]
    for unit in set(UNITS).difference(wanted):
        if machine.succeeds("systemctl", "--quiet", "is-enabled", unit):
            machine.run("systemctl", "disable", "--now", unit)
            machine.keep_started(unit, "")
            machine.changed(f"{unit} was stopped")
    for unit in ("systemd-journald.service", *wanted, "caddy.service"):
        reads = {name: written.get(name) for name in (f"{files.SYSTEMD}/{unit}", *_READS[unit])}
        made_of = files.digest(repr(sorted(reads.items())))
        runs = machine.succeeds("systemctl", "--quiet", "is-active", unit)
        if unit not in ("systemd-journald.service",) and not machine.succeeds(
            "systemctl", "--quiet", "is-enabled", unit
        ):
            machine.run("systemctl", "enable", unit)
            machine.changed(f"{unit} starts with the machine")
        if not runs or machine.started().get(unit) != made_of:
            machine.run("systemctl", "restart", "--no-block", unit)
            machine.keep_started(unit, made_of)
            machine.changed(f"{unit} was started")
    if not machine.succeeds("systemctl", "--quiet", "is-active", files.TIMER):
        machine.run("systemctl", "enable", "--now", files.TIMER)
        machine.changed(f"{files.TIMER} was started")


def wait_for_answer(options: Options) -> None:
    """Wait until the gateway answers by https under its name, at most ``_ANSWER_SECONDS``, which is three minutes.

    Raises InstallerError with the services' last log lines if the gateway does not answer in time.
    """
    deadline = time.monotonic() + _ANSWER_SECONDS
    problem = "nothing"
    say(f"now   waiting for {options.public_url} to answer")
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{options.public_url}/hub/health", timeout=10):  # noqa: S310  # nosec B310
                return
        except (urllib.error.URLError, OSError) as error:
            problem = str(getattr(error, "reason", error))
        time.sleep(0.5)
    said = subprocess.run(
        ("journalctl", "--no-pager", "--quiet", "--lines=12", *(f"--unit={unit}" for unit in (*UNITS, "caddy"))),
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    raise InstallerError(
        f"{options.public_url} does not answer after {_ANSWER_SECONDS} s ({problem}). The services said last:\n{said}"
        "Mend that, then run this again; what is done stays."
    )


def check() -> int:
    """Run ``factorygate check`` and return its exit code."""
    say("now   factorygate check")
    return subprocess.run((files.COMMAND, "check"), stdin=subprocess.DEVNULL, check=False).returncode


# --- uninstalling


def uninstall(machine: Machine, purge: bool, confirmed: bool) -> int:
    """Remove the gateway and, with ``purge``, also its data and its account. Return the exit code.

    Before data are removed, the person at the terminal is asked, unless ``confirmed``. 0: the gateway is removed; 1:
    the person declined. Raises InstallerError.
    """
    if os.geteuid() != 0:
        raise InstallerError("This needs root: run it with sudo.")
    data = (files.ETC, files.VAR, files.BACKUPS)
    if purge and not confirmed and not _asked(data):
        say("Nothing was removed.")
        return 1
    for unit in (files.TIMER, *reversed(UNITS)):
        if machine.path(f"{files.SYSTEMD}/{unit}").exists():
            machine.run("systemctl", "disable", "--now", unit)
    for name in files.UNIT_FILES:
        machine.remove(f"{files.SYSTEMD}/{name}")
    machine.run("systemctl", "daemon-reload")
    for name in (files.JOURNALD, files.COMMAND, f"{files.CADDY}/factorygate.caddy", files.ACME_ROOT):
        machine.remove(name)
    _leave_web_server(machine)
    for name in (f"{ROOT}/current", f"{ROOT}/releases"):
        machine.remove(name)
    if purge:
        for name in data:
            machine.remove(name)
        if machine.succeeds("id", files.USER):
            machine.run("userdel", files.USER)
    else:
        machine.forget_started()
        say(f"kept  {', '.join(data)} and the account {files.USER}; factorygate-install uninstall --purge removes them")
    packages = ", ".join(sorted({*PACKAGES.values(), "python3-venv"}))
    say(f"These packages stay: {packages}. Jobs at the factories go on until they end by themselves.")
    return 0


def _leave_web_server(machine: Machine) -> None:
    """Remove the gateway's site from the web server.

    If the web server has no other site, it is stopped, starts no longer with the machine, and loses its Caddyfile.
    """
    text = _caddyfile(machine)
    if text is None or files.CADDY_IMPORT not in text.splitlines():
        return
    rest = "".join(f"{line}\n" for line in text.splitlines() if line != files.CADDY_IMPORT)
    if rest.strip():
        machine.write(WantedFile(_CADDYFILE, rest))
        _validate_web_server(machine)  # a reload with an unusable configuration would never end
        if machine.succeeds("systemctl", "--quiet", "is-active", "caddy.service"):
            machine.run("systemctl", "reload", "caddy.service")
    else:
        machine.run("systemctl", "disable", "--now", "caddy.service")
        machine.remove(_CADDYFILE)


def _asked(names: tuple[str, ...]) -> bool:
    if not sys.stdin.isatty():
        raise InstallerError("--purge asks before it deletes data, and nobody is here to answer: add --yes.")
    sys.stderr.write(f"Delete {', '.join(names)}: databases, keys, tokens, backups? Type yes: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() == "yes"
