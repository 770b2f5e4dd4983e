"""Runs the process that fetches a workshop's material, and removes archives that nobody needs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Collection
from pathlib import Path

from pydantic import ValidationError

from factorycommon.messages import Message
from factorycommon.process_groups import started
from workshops.models.bodies import MaterialBody
from workshops.models.material import FetchRequest, FetchResult, MaterialSettings

log = logging.getLogger("workshops")

_MORE_SECONDS = 20.0  # for the process to start and to end, beyond the time of a fetch
_MOST_ANSWER = 1 << 20  # bytes
_AT_ONCE = 2
_KEPT_SECONDS = 3600.0  # how long a file stays that nobody needs
_KEPT = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL")  # variables that the process gets


class MaterialFetcher:
    """Fetches commits of git repositories as archives, at most two commits at a time.

    ``folder``: has the archives, as ``DIGEST.tar.gz``; the first fetch makes it if it is missing.
    """

    def __init__(self, folder: Path, settings: MaterialSettings) -> None:
        self._folder = folder
        self._settings = settings
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def archive(self, digest: str) -> Path:
        """Return the path of the archive with this digest, whether or not the archive exists."""
        return self._folder / f"{digest}.tar.gz"

    async def fetch(self, material: MaterialBody) -> FetchResult:
        """Fetch a commit; the result has the digest of its archive, or says why there is none.

        Raises OSError if the folder cannot be made or the process that fetches cannot be started.
        """
        async with self._slots:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            request = FetchRequest(
                repository=material.repository,
                commit=material.commit,
                folder=self._folder.resolve(),
                settings=self._settings,
            )
            answer = await self._run(request)
        try:
            return FetchResult.model_validate_json(answer)
        except ValidationError:
            said = Message("material-process", "The process that fetches ended without an answer; the log tells why.")
            return FetchResult(problem=said)

    def has(self, digest: str) -> bool:
        """Return whether the archive with this digest exists."""
        return self.archive(digest).exists()

    def sweep(self, digests: Collection[str]) -> None:
        """Remove what interrupted fetches have left, and all archives except those with these digests.

        Files and folders of the last hour stay.
        """
        if not self._folder.is_dir():
            return
        kept = {f"{digest}.tar.gz" for digest in digests}
        oldest = time.time() - _KEPT_SECONDS
        for path in self._folder.iterdir():
            if path.stat().st_mtime > oldest:  # perhaps of a fetch that goes on
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name not in kept:
                path.unlink(missing_ok=True)

    async def _run(self, request: FetchRequest) -> bytes:
        creation = asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "workshops.material"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
            limit=_MOST_ANSWER,
            start_new_session=True,
        )
        process = await started(creation)
        try:
            async with asyncio.timeout(request.settings.seconds + _MORE_SECONDS):
                answer, _ = await process.communicate(request.model_dump_json().encode())
        except TimeoutError:
            log.error("A fetch of material did not end in time")  # noqa: TRY400
            return b""
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # git's processes, too
        return answer[:_MOST_ANSWER]
