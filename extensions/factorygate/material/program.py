"""Runs a delivery in a process of its own, so that the door keeps working whatever the person's folder contains."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

SECONDS = 120.0  # for one delivery
_MOST_ANSWER = 64 << 10  # bytes
_FIELDS = {"name": str, "commit": str, "digest": str, "restore": bool}


class DeliveryRefused(ValueError):
    """Raised if the material was not delivered, or not completely; the text says why."""


def argv_of(order: object, root: Path, umask: int) -> list[str]:
    """Return the argv of ``python -m factorygate.material`` for the delivery that ``order`` asks for.

    ``order``: a dict with the keys ``name``: the workshop's folder; ``commit``: the material's version; ``digest``: the
    SHA-256 of the archive; ``restore``: whether to write again what the person deleted; and perhaps ``aside``: a time
    such as ``2026-05-04-093000``, which is added to the name of the person's present folder before the delivery.
    ``root``: the folder of the notebook's files; ``umask``: for new files. Raises DeliveryRefused if ``order`` is no
    dict, lacks one of the first four keys, or has a value of a wrong type or with a null character.
    """
    if not isinstance(order, dict) or any(not isinstance(order.get(name), kind) for name, kind in _FIELDS.items()):
        raise DeliveryRefused("an object with `name`, `commit`, `digest` and `restore` is needed")
    if not isinstance(order.get("aside"), str | None):
        raise DeliveryRefused("`aside` has to be a text")
    words = [f"--{name}={order[name]}" for name in ("name", "commit", "digest", "aside") if order.get(name) is not None]
    if any("\0" in word for word in words):
        raise DeliveryRefused("a text has a null character")
    more = ["--restore"] if order["restore"] else []
    return [sys.executable, "-P", "-m", "factorygate.material", f"--root={root}", f"--umask={umask:o}", *words, *more]


async def run(argv: list[str], archive: IO[bytes], environment: Mapping[str, str] | None = None) -> dict[str, object]:
    """Run the program ``argv`` (see ``argv_of``) with an archive as its input; return its report.

    ``environment``: the program's environment variables; None: those of this process. Raises DeliveryRefused if the
    delivery fails, takes longer than ``SECONDS``, or gives a report that cannot be read.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=archive.fileno(),
        stdout=asyncio.subprocess.PIPE,
        env=None if environment is None else dict(environment),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(SECONDS):
            answer = await _all_of(process)
            code = await process.wait()
    except TimeoutError as error:
        raise DeliveryRefused(f"The material was not delivered within {SECONDS:.0f} seconds.") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    try:
        report = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise DeliveryRefused(f"The delivery ended with exit code {code}; the job's log tells why.") from error
    if not isinstance(report, dict) or code != 0:
        why = report.get("error") if isinstance(report, dict) else None
        raise DeliveryRefused(str(why or "The delivery failed."))
    return report


async def _all_of(process: asyncio.subprocess.Process) -> bytes:
    answer = b""
    while process.stdout is not None and (piece := await process.stdout.read(_MOST_ANSWER)):
        answer += piece
        if len(answer) > _MOST_ANSWER:
            return b""
    return answer
