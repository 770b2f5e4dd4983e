"""Fetches one commit of a repository and writes its archive. Runs in a process of its own, with limits."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from factorycommon.material.archive import MaterialLimits, hash_of
from factorycommon.messages import Message, of_error
from factorycommon.models.plain import plain_text
from factorycommon.private_files import open_to_others
from workshops.material import git
from workshops.material.git import GitFailed, GitRepository, GitTooMuch
from workshops.material.packing import TreeEntry, TreeRefused, check_tree, pack_with_steps, read_tree
from workshops.models.material import FetchRequest, FetchResult, MaterialSettings
from workshops.repositories import BadRepository, RepositoryAddress, check, parse

_MEMORY = 4 << 30  # bytes of address space of each process
_LISTED = 1000  # bytes of a listing for each file
_SERVER_SAID = Message("material-git-said", "The commit could not be fetched. Git says: {said}")
# What git's error output means; the first pattern that fits counts.
_MEANINGS: tuple[tuple[str, Message], ...] = (
    (r"not our ref|unadvertised object|no such remote ref|couldn't find remote ref",
     Message("material-no-commit", "The repository has no such commit, or its server does not give single commits.")),
    (r"redirect", Message("material-redirect", "The server redirects to another address. Give that one; it often "
                          "ends in .git.")),
    (r"could not read (username|password)|authentication failed|terminal prompts disabled|403|401",
     Message("material-private", "There is no such repository, or it is private: the operators of this gateway can "
             "give it a deploy token.")),
    (r"not found|404|does not appear to be a git repository|does not exist",
     Message("material-no-repository", "There is no repository at this address.")),
    (r"certificate|ssl", Message("material-certificate", "The certificate of the server is not trusted.")),
    (r"could ?n.t resolve|failed to connect|could not connect|timed out|too slow|operation too slow",
     Message("material-no-answer", "The server of the repository does not answer.")),
    (r"file too large|file size limit|signal 25",
     Message("material-too-large", "The commit is larger than material may be.")),
    (r"git is not installed", Message("material-no-git", "This gateway has no git. Tell its operators.")),
)  # fmt: skip


class TookTooLong(Exception):
    """Raised if a fetch takes longer than the settings allow."""


def limits_of(settings: MaterialSettings) -> MaterialLimits:
    """Return the limits that the operator's settings give for an archive: the number of files, and sizes in bytes."""
    return MaterialLimits(settings.files, settings.file_mib << 20, settings.total_mib << 20)


def fetched(request: FetchRequest) -> FetchResult:
    """Fetch a commit, and write its archive as ``DIGEST.tar.gz`` into the folder of the request.

    The result has a problem instead of a digest if the commit cannot be fetched, takes too long or may not be material,
    or if a file or folder cannot be read or written.
    """
    try:
        with (
            tempfile.TemporaryDirectory(prefix="fetch-", dir=request.folder, ignore_cleanup_errors=True) as folder,
            _time_limit(request.settings.seconds),
        ):
            return _fetched(request, Path(folder))
    except BadRepository as error:
        return FetchResult(problem=error.message)
    except TreeRefused as error:
        return FetchResult(problem=of_error(error), refused=error.files)
    except GitFailed as error:
        return FetchResult(problem=meaning_of(error.said))
    except TookTooLong:
        said = Message("material-slow", "The fetch took more than {seconds} seconds.")
        return FetchResult(problem=said.format(seconds=request.settings.seconds))
    except OSError as error:
        said = Message("material-disk", "The gateway cannot keep the material: {why}")
        return FetchResult(problem=said.format(why=error.strerror or type(error).__name__))


def _fetched(request: FetchRequest, folder: Path) -> FetchResult:
    settings, limits = request.settings, limits_of(request.settings)
    address = parse(request.repository, local="file" in request.schemes)
    pin = None
    if address.host:
        addresses = check(address, settings.networks)
        listed = ",".join(f"[{one}]" if ":" in one else one for one in addresses)
        pin = f"{address.host}:{address.port}:{listed}"
    try:
        token = token_for(address, settings)
    except OSError as error:
        said = Message(
            "material-token",
            "The gateway's deploy token for this repository cannot be read: {why}. Tell the gateway's operators.",
        )
        raise TreeRefused(said.format(why=error.strerror or type(error).__name__)) from error
    environment = git.environment_of(folder, request.schemes, token)
    repository = GitRepository(folder, environment)
    repository.run(*git.init(request.commit))
    repository.run(*git.fetch(address.url, request.commit, pin, settings.ca_file))
    if repository.run("cat-file", "-t", request.commit).strip() != b"commit":
        raise TreeRefused(Message("material-no-such-commit", "The id is not one of a commit."))
    try:
        listing = repository.run(
            "ls-tree", "-r", "-l", "-z", "--full-tree", request.commit, most=_LISTED * limits.files
        )
    except GitTooMuch as error:
        said = Message("material-too-many", "The commit has more than {most} files, or very long names.")
        raise TreeRefused(said.format(most=limits.files)) from error
    try:
        entries = read_tree(listing)
    except ValueError as error:
        raise GitFailed("the list of the commit's files has another form than expected") from error
    check_tree(entries, limits)
    with _contents(repository, entries) as content_of:
        archive, steps = pack_with_steps(entries, content_of, limits)
    digest = hash_of(archive)
    _keep(request.folder / f"{digest}.tar.gz", archive)
    return FetchResult(digest=digest, files=len(entries), bytes=sum(one.size or 0 for one in entries), steps=steps)


@contextlib.contextmanager
def _contents(repository: GitRepository, entries: list[TreeEntry]) -> Iterator[Callable[[TreeEntry], bytes]]:
    """Yield a function that returns the content of an entry; call the function once for each entry, in order.

    The function raises GitFailed if git lacks the object. The ``with`` block raises GitFailed when it ends, if git
    failed.
    """
    wanted = repository.folder / "wanted"
    wanted.write_text("".join(f"{one.object}\n" for one in entries), encoding="ascii")
    with wanted.open("rb") as stdin, repository.start("cat-file", "--batch", stdin=stdin) as process:
        if process.stdout is None:
            raise AssertionError
        stdout = process.stdout

        def content_of(entry: TreeEntry) -> bytes:
            head = stdout.readline(200).split()
            if head[1:] != [b"blob", str(entry.size).encode()] or entry.size is None:
                raise GitFailed("an object of the commit is missing")
            content = stdout.read(entry.size)
            if len(content) != entry.size or stdout.read(1) != b"\n":
                raise GitFailed("an object of the commit is incomplete")
            return content

        try:
            yield content_of
            repository.finish(process)
        except BaseException:
            process.kill()
            raise


def token_for(address: RepositoryAddress, settings: MaterialSettings) -> tuple[str, str, str] | None:
    """Return the operator's deploy token for a repository: prefix of the address, user, token; None if there is none.

    Raises OSError if the token's file cannot be read, or if it is open to other accounts (see ``open_to_others``).
    """
    token = next((one for one in settings.tokens if address.url.startswith(one.prefix)), None)
    if token is None:
        return None
    with token.file.open("rb") as file:
        if open_to_others(os.fstat(file.fileno())):
            raise PermissionError(0, "the file of the deploy token must be 0600")
        secret = file.read(4096).decode("ascii", errors="replace").strip()
    return token.prefix, token.user, secret


def meaning_of(said: str) -> Message:
    """Return a message for people that says what git's error output means.

    ``said``: git's error output. If its meaning is not known, the message quotes the last line of the output.
    """
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, said, re.IGNORECASE):
            return meaning
    lines = [line for line in said.splitlines() if line.strip()]
    return _SERVER_SAID.format(said=plain_text(lines[-1] if lines else "–", 300))


def _keep(path: Path, archive: bytes) -> None:
    descriptor, name = tempfile.mkstemp(prefix="new-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(archive)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _time_limit(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def limit_process(settings: MaterialSettings) -> None:
    """Limit CPU time, memory and file size of this process and of the processes that it starts; forbid core dumps.

    A limit that cannot be set is only reported on stderr.
    """
    largest = 2 * (settings.total_mib << 20) + (16 << 20)
    wanted = {
        resource.RLIMIT_CPU: settings.seconds,
        resource.RLIMIT_AS: _MEMORY,
        resource.RLIMIT_FSIZE: largest,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in wanted.items():
        _, hard = resource.getrlimit(kind)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(kind, (allowed, allowed))
        except (OSError, ValueError) as error:  # a sandbox around the service may forbid this; its own limits hold
            sys.stderr.write(f"A limit of the fetching process cannot be set: {error}\n")
