"""Upgrades a gateway on one machine to another release; rolls back if the upgrade fails or the operator orders it.

The new release's own program runs this module. Meanwhile the sessions at the factories continue. The proxy is restarted
only if the new release has another proxy. What is needed to undo the upgrade is written to ``upgrade.json`` before each
change, so that the next run can undo an interrupted upgrade."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError

from factorycommon.models import Model
from factorycommon.service.yaml_file import CatalogueError
from factoryinstaller.errors import ReleaseError
from factoryinstaller.releases import INSTALLED, Layout, Release
from factoryoperator import restore as restoring
from factoryoperator import store_schemas, stores
from factoryoperator.backup import make
from factoryoperator.gateway import WORKSHOPS, Gateway, read
from factoryoperator.manifest import BackupError, FullPath
from factoryoperator.running_gateway import GatewaySilent, Observed, losses, observe
from factoryoperator.store_schemas import SchemaError, StoreSchema
from factoryoperator.units import Part, UnitError, Units

_PAUSE = 0.3  # seconds between two checks of a gateway that is starting
_STEP_SECONDS = 3600  # timeout of a check or a migration
_JOURNAL, _LAST = "upgrade.json", "last-upgrade.json"

Version = Annotated[str, StringConstraints(pattern=rf"^{INSTALLED.pattern}$", max_length=60)]


class UpgradeError(Exception):
    """Raised if an upgrade or a rollback fails, cannot begin, or is declined by the operator; the message says why."""


class _Failed(Exception):
    """Raised if a step of an upgrade fails; the upgrade is then undone."""


class Journal(Model):
    """The record of an upgrade that has begun or succeeded.

    ``old``, ``new``: the releases before and after the upgrade; ``backup``: a backup of the whole gateway from before
    the upgrade; ``copies``: a backup of the stores to migrate, made while the gateway is stopped; None: not made yet,
    or no store has to be migrated; ``migrated``: descriptions of these stores; ``proxy``: True if the proxy is
    restarted, too.
    """

    old: Version
    new: Version
    backup: FullPath
    copies: FullPath | None = None
    migrated: tuple[Annotated[str, Field(max_length=200)], ...] = ()
    proxy: bool = False


@dataclass(frozen=True)
class Upgrade:
    """Upgrades a gateway, or rolls back its last upgrade.

    ``layout``: the folder with the installed releases; ``units``: starts and stops the gateway's processes; ``hub``,
    ``link``: the paths of hub.yaml and link.yaml, None: the usual ones; ``backups``: the folder for backups; ``say``:
    shows a line to the operator; ``confirm``: asks the operator a question, and returns whether they agree;
    ``patience``: how many seconds hub and link have, after the start of a release, to answer and to know the sessions
    and clusters that were live before the upgrade or rollback.
    """

    layout: Layout
    units: Units
    hub: Path | None
    link: Path | None
    backups: Path
    say: Callable[[str], None]
    confirm: Callable[[str], bool]
    patience: float = 180.0

    # --- upgrading

    def to(self, new: Release) -> None:
        """Upgrade to an installed release; if that fails, go back to the present release and raise UpgradeError.

        First, an earlier upgrade that was interrupted is undone. If a check before the first change fails, or the
        operator does not agree, UpgradeError is raised and nothing is changed. Nothing is changed either if ``new`` is
        in use already.
        """
        self._undo_what_was_broken_off()
        old = self._current()
        if old.version == new.version:
            self.say(f"Release {new.version} is in use already.")
            return
        gateway = self._checked(new)
        schemas = _schemas(gateway)
        self._ask(old, [store for store in schemas if store.is_old])
        before = self._observed(gateway, old)
        backup = self._backup(gateway, old)
        journal = Journal(old=old.version, new=new.version, backup=str(backup), proxy=self._is_another_proxy(old, new))
        self._note(journal)
        try:
            outdated = [store for store in schemas if store.is_old]
            journal = self._stop_and_copy(gateway, journal, outdated)
            self._migrate(gateway, outdated, new)
            self._run(new, journal, gateway)
            self._verify(gateway, before)
        except (_Failed, UnitError, SchemaError, BackupError, OSError, KeyboardInterrupt) as error:
            why = str(error) or "it was interrupted"
            self.say(f"The upgrade failed: {why}")
            self._undo(journal, gateway, before)
            raise UpgradeError(
                f"The upgrade to {new.version} failed: {why}. It was undone: release {old.version} runs again, with "
                f"what it had. The backup is {backup}"
            ) from error
        self._done(journal)
        sessions = "1 session continues" if len(before.sessions) == 1 else f"{len(before.sessions)} sessions continue"
        self.say(f"Release {new.version} is in use. {sessions}. The backup is {backup}.")

    def _stop_and_copy(self, gateway: Gateway, journal: Journal, old: Sequence[StoreSchema]) -> Journal:
        """Stop hub, workshops service and link, and copy the stores that are to be migrated (``old``).

        Return the journal, which is in its file already. If there are such stores, the journal has the path of the
        copies. Raises UnitError, BackupError, OSError.
        """
        self.say(f"Stopping {_named(_stopped(gateway))}; sessions continue.")
        self._stop(gateway)
        if not old:
            return journal
        copies = _free_name(Path(journal.backup).parent, f"stores-{journal.old}")
        wanted = {
            "hub.yaml",
            "link.yaml",
            WORKSHOPS,
            *(one.what for one in old),
        }  # these files name the databases on a server
        kept = [store for store in stores.of(gateway) if store.what in wanted]
        make(copies, kept, gateway.hub.path if gateway.hub.config else None,
             gateway.link.path if gateway.link.config else None)  # fmt: skip
        journal = journal.model_copy(update={"copies": str(copies), "migrated": tuple(one.what for one in old)})
        self._note(journal)
        return journal

    def _migrate(self, gateway: Gateway, old: Sequence[StoreSchema], new: Release) -> None:
        """Migrate the old stores by the new release's program, as the accounts that own them. Raises _Failed."""
        for owner in sorted({store.owner for store in old}):
            theirs = [store for store in old if store.owner == owner]
            for store in theirs:
                self.say(f"Migrating {store.what} from step {store.step} to {store.needs}.")
            only = [word for store in theirs for word in ("--only", store.name)]
            argv = [str(new.python), "-m", "factoryoperator", "stores", "upgrade", *only, *_files(gateway)]
            said = _as_owner(owner, argv)
            if said:
                raise _Failed(f"{' and '.join(store.what for store in theirs)} could not be migrated: {said}")

    def _run(self, release: Release, journal: Journal, gateway: Gateway) -> None:
        self.say(f"Starting release {release.version}.")
        self.layout.switch(release)
        if journal.proxy:
            self.say("Its proxy is another one: it is started anew, too.")
            self.units.stop("proxy")
        for part in (*_parts(gateway), *(("proxy",) if journal.proxy else ())):
            self.units.start(part)

    def _verify(self, gateway: Gateway, before: Observed) -> None:
        """Wait until hub and link answer and nothing that was live ``before`` is lost.

        Raises _Failed after ``patience`` seconds, or at once if a part of the gateway does not run.
        """
        self.say("Waiting until hub and link answer, and each session is as it was.")
        end = time.monotonic() + self.patience
        while True:
            for part in _parts(gateway):
                why = self.units.failed(part)
                if why:
                    raise _Failed(why)
            try:
                lost = losses(gateway, before)
            except GatewaySilent as error:
                lost = [str(error)]
            if not lost:
                return
            if time.monotonic() > end:
                more = f" (and {len(lost) - 3} more)" if len(lost) > 3 else ""
                raise _Failed(f"after {self.patience:.0f} s: {'; '.join(lost[:3])}{more}")
            time.sleep(_PAUSE)  # hub and link send no event when they are up

    # --- rolling back

    def back(self) -> None:
        """Go back to the release from before the last successful upgrade, if the operator agrees.

        Stores that the upgrade migrated are restored as they were before the upgrade; what was written to them since is
        lost. If another upgrade was interrupted, that upgrade is undone first. Raises UpgradeError if a step fails, if
        the operator does not agree, or if there is no upgrade to roll back.
        """
        self._undo_what_was_broken_off()
        journal = self._journal(_LAST)
        if journal is None:
            raise UpgradeError("There is no upgrade to take back")
        now = self._current()
        if now.version != journal.new:
            raise UpgradeError(f"The last upgrade was to {journal.new}, and {now.version} is in use")
        try:
            old = self.layout.installed_release(journal.old)
        except ReleaseError as error:
            raise UpgradeError(f"{error}. Nothing was changed") from error
        # The old release may not know all keys of today's files. Stores that it cannot read yet would be mistakes, too.
        gateway = self._checked(old) if journal.copies is None else self._read()
        question = f"Go back from release {journal.new} to {journal.old}?"
        if journal.copies is not None:
            question += (
                f" {' and '.join(journal.migrated).capitalize()} become as they were at the upgrade: what was written "
                "since is lost. Sessions that were started since are found again at the factories."
            )
        if not self.confirm(question):
            raise UpgradeError("Nothing was changed")
        before = self._observed(gateway, now)
        self._note(journal)
        self._undo(journal, gateway, None if journal.copies else before)
        (self.layout.root / _LAST).unlink(missing_ok=True)
        self.say(f"Release {journal.old} is in use.")

    def _undo(self, journal: Journal, gateway: Gateway, before: Observed | None) -> None:
        """Run the old release again with its stores, and wait until hub and link answer.

        ``before``: the state that the gateway must reach; None: no session has to be live again. Raises UpgradeError if
        this fails; the message says what the operator has to do.
        """
        self.say(f"Going back to release {journal.old}.")
        try:
            old = self.layout.installed_release(journal.old)
            self._stop(gateway)
            if journal.copies is not None:
                _put_back(Path(journal.copies))
            self._run(old, journal, gateway)
            self._verify(gateway, Observed() if before is None else before)
        except (_Failed, UnitError, BackupError, ReleaseError, OSError) as error:
            raise UpgradeError(
                f"Release {journal.old} could not be brought back: {error}. By hand: stop {_named(_stopped(gateway))}, "
                f"let {self.layout.root / 'current'} lead to releases/{journal.old}, factorygate restore "
                f"{journal.copies or journal.backup} if its databases were changed, and start {_named(_parts(gateway))}"
            ) from error
        (self.layout.root / _JOURNAL).unlink(missing_ok=True)

    def _undo_what_was_broken_off(self) -> None:
        journal = self._journal(_JOURNAL)
        if journal is None:
            return
        self.say(f"An upgrade from {journal.old} to {journal.new} was broken off. It is undone first.")
        self._undo(journal, self._read(), None)

    # --- conditions

    def _current(self) -> Release:
        try:
            found = self.layout.current()
        except ReleaseError as error:
            raise UpgradeError(f"{error}. Nothing was changed") from error
        if found is None:
            raise UpgradeError(f"{self.layout.root / 'current'} is not there: no release is in use yet")
        return found

    def _read(self) -> Gateway:
        try:
            gateway = read(self.hub, self.link)
        except CatalogueError as error:
            raise UpgradeError(str(error)) from error
        problems = [*gateway.hub.problems, *gateway.link.problems, *gateway.workshops.problems]
        if problems:
            raise UpgradeError("\n".join([*problems, "This release cannot read that. Nothing was changed"]))
        return gateway

    def _checked(self, wanted: Release) -> Gateway:
        """Return the configuration if ``check`` of the wanted release finds no mistake; else raise UpgradeError."""
        gateway = self._read()
        argv = [str(wanted.python), "-m", "factoryoperator", "check", "--offline", *_files(gateway)]
        code, said = _output(argv)
        if code:
            wrong = [line for line in said.splitlines() if line.startswith("WRONG")] or said.splitlines()[-5:]
            raise UpgradeError("\n".join([*wrong, f"Release {wanted.version} would not start. Nothing was changed"]))
        self.say(f"Release {wanted.version} finds nothing wrong with the configuration.")
        return gateway

    def _observed(self, gateway: Gateway, release: Release) -> Observed:
        try:
            return observe(gateway)
        except GatewaySilent as error:
            raise UpgradeError(
                f"{error}. Mend release {release.version} first: what does not run cannot be compared. Nothing was "
                "changed"
            ) from error

    def _ask(self, old: Release, migrated: Sequence[StoreSchema]) -> None:
        """Ask the operator to agree to the migration of stores; ask nothing if no store is to be migrated.

        Once the upgrade has succeeded, the migration can be undone only with a loss of data. Raises UpgradeError if the
        operator does not agree.
        """
        if not migrated:
            return
        names = " and ".join(one.what for one in migrated)
        question = (
            f"This release changes the tables of {names}. If the upgrade fails, it is undone. Once it has succeeded, "
            f"release {old.version} can only be had again with the tables of now: what is written from now on would be "
            "lost. Go on?"
        )
        if not self.confirm(question):
            raise UpgradeError("Nothing was changed")

    def _backup(self, gateway: Gateway, old: Release) -> Path:
        target = _free_name(self.backups, f"factorygate-{old.version}")
        self.say(f"Making a backup: {target}")
        try:
            self.backups.mkdir(mode=0o700, parents=True, exist_ok=True)
            make(target, stores.of(gateway), gateway.hub.path if gateway.hub.config else None,
                 gateway.link.path if gateway.link.config else None)  # fmt: skip
        except (BackupError, stores.NotOurs, OSError) as error:
            raise UpgradeError(f"{error}. Nothing was changed") from error
        return target

    def _is_another_proxy(self, old: Release, new: Release) -> bool:
        try:
            return old.proxy != new.proxy and self.units.has("proxy")
        except UnitError as error:
            raise UpgradeError(f"{error}. Nothing was changed") from error

    def _stop(self, gateway: Gateway) -> None:
        for part in _stopped(gateway):
            self.units.stop(part)

    # --- the journal

    def _note(self, journal: Journal) -> None:
        file = self.layout.root / _JOURNAL
        fresh = file.with_name(f".{_JOURNAL}.new")
        with fresh.open("w", encoding="utf-8") as opened:
            opened.write(journal.model_dump_json(indent=1) + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        fresh.replace(file)

    def _done(self, journal: Journal) -> None:
        self._note(journal)
        (self.layout.root / _JOURNAL).replace(self.layout.root / _LAST)

    def _journal(self, name: str) -> Journal | None:
        file = self.layout.root / name
        try:
            return Journal.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise UpgradeError(f"{file} cannot be read: {error}") from error


def _free_name(folder: Path, begin: str) -> Path:
    """Return an unused path for a backup in ``folder``; its name is ``begin`` and the present time."""
    stem = f"{begin}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (f"{stem}{'' if number == 1 else f'-{number}'}.tar.gz" for number in count(1))
    return next(folder / name for name in names if not (folder / name).exists())


def _put_back(copies: Path) -> None:
    """Restore the databases of a backup, and none of its plain files. Raises BackupError."""
    with restoring.opened(copies) as found:
        planned = restoring.plan(found, Path("/"), plain_files=False)
        restoring.restore(found, planned, Path("/"), overwrite=True)


def _schemas(gateway: Gateway) -> list[StoreSchema]:
    try:
        return store_schemas.of(gateway)
    except SchemaError as error:
        raise UpgradeError(f"{error} Nothing was changed") from error


def _parts(gateway: Gateway) -> tuple[Part, ...]:
    """Return which of link, workshops service and hub are configured on this machine, in the order of their start.

    With separate hosts, a machine has only some of these parts.
    """
    there: dict[Part, object] = {
        "link": gateway.link.config, "workshops": gateway.workshops.config, "hub": gateway.hub.config
    }  # fmt: skip
    return tuple(part for part, config in there.items() if config is not None)


def _stopped(gateway: Gateway) -> tuple[Part, ...]:
    """Return the parts on this machine in the order in which they stop."""
    return _parts(gateway)[::-1]


def _named(parts: Sequence[Part]) -> str:
    """Return the names of parts for the operator, such as ``hub, workshops service and link``."""
    names = ["workshops service" if part == "workshops" else part for part in parts]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _files(gateway: Gateway) -> tuple[str, ...]:
    named = (("--hub", gateway.hub), ("--link", gateway.link))
    return tuple(word for option, side in named if side.config is not None for word in (option, str(side.path)))


def _as_owner(owner: int, argv: Sequence[str]) -> str:
    """Run a program; return its output if it failed, "" if it succeeded.

    If this process is root, the program runs as the account with the uid ``owner``.
    """
    if os.geteuid() == 0 and owner != 0:
        try:
            account = pwd.getpwuid(owner)
        except KeyError:
            return f"the store belongs to the user {owner}, and no account has this number"
        groups = os.getgrouplist(account.pw_name, account.pw_gid)
        code, said = _output(argv, user=owner, group=account.pw_gid, extra_groups=groups)
    else:
        code, said = _output(argv)
    return said.strip() or f"exit code {code}" if code else ""


def _output(
    argv: Sequence[str],
    user: int | None = None,
    group: int | None = None,
    extra_groups: Sequence[int] | None = None,
) -> tuple[int, str]:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=_STEP_SECONDS, user=user, group=group, extra_groups=extra_groups, cwd="/",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, done.stdout
