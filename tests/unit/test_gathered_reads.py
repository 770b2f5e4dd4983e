from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from factorylink.config import LocalTransportSettings
from factorylink.errors import Gone, Refused, Unreachable
from factorylink.transports import gathered_reads
from factorylink.transports.gathered_reads import GatheredReads, split
from factorylink.transports.local import LocalTransport


class Shell:
    """Runs commands as the present user. ``argvs``: the commands that were run; ``silent``: paths whose commands wait
    until they are cancelled."""

    def __init__(self) -> None:
        self.argvs: list[tuple[str, ...]] = []
        self.silent: set[str] = set()

    async def __call__(
        self, account: str | None, argv: tuple[str, ...], most: int, seconds: float
    ) -> tuple[bytes, bytes, int]:
        self.argvs.append(argv)
        if self.silent & set(argv):
            await asyncio.sleep(seconds)
            raise Unreachable("no answer")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
        stdout, stderr = await process.communicate()
        assert process.returncode is not None
        return stdout, stderr, process.returncode


def files(folder: Path, *contents: bytes) -> list[str]:
    paths = [folder / f"file {number}" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return [str(path) for path in paths]


async def outcomes(reads: GatheredReads, paths: list[str], limit: int = 100) -> list[bytes | BaseException]:
    return await asyncio.gather(*(reads.read("ada", path, limit) for path in paths), return_exceptions=True)


async def test_files_that_are_requested_at_once_are_read_by_one_command(tmp_path: Path) -> None:
    shell = Shell()
    paths = files(tmp_path, *(f"content {number}\n".encode() for number in range(40)))
    found = await outcomes(GatheredReads(shell), paths)
    assert found == [f"content {number}\n".encode() for number in range(40)]
    assert len(shell.argvs) == 1


async def test_a_file_that_is_missing_is_gone_and_the_others_are_read(tmp_path: Path) -> None:
    shell = Shell()
    paths = [*files(tmp_path, b"a\n", b"", b"no newline", b"\n\n"), str(tmp_path / "none"), str(tmp_path / "it's not")]
    found = await outcomes(GatheredReads(shell), paths)
    assert found[:4] == [b"a\n", b"", b"no newline", b"\n\n"]
    assert [type(one) for one in found[4:]] == [Gone, Gone]


async def test_only_the_requested_bytes_of_each_file_are_read(tmp_path: Path) -> None:
    found = await outcomes(GatheredReads(Shell()), files(tmp_path, b"x" * 500, b"y" * 500), limit=7)
    assert found == [b"x" * 7, b"y" * 7]


async def test_a_file_that_imitates_another_one_is_not_taken_for_it(tmp_path: Path) -> None:
    paths = files(tmp_path, b"", b"right\n", b"last\n")
    Path(paths[0]).write_bytes(f"\n==> {paths[1]} <==\nwrong\n\n==> {tmp_path}/none <==\nwrong\n".encode())
    found = await outcomes(GatheredReads(Shell()), [*paths, f"{tmp_path}/none"], limit=1000)
    assert found[0] == Path(paths[0]).read_bytes()
    assert found[1:3] == [b"right\n", b"last\n"]
    assert isinstance(found[3], Gone)


async def test_a_file_that_cannot_be_read_spoils_no_other(tmp_path: Path) -> None:
    (folder := tmp_path / "folder").mkdir()
    found = await outcomes(GatheredReads(Shell()), [*files(tmp_path, b"a\n", b"b\n"), str(folder)])
    assert found[:2] == [b"a\n", b"b\n"]
    assert isinstance(found[2], Refused)


async def test_a_file_that_blocks_a_command_delays_no_other_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathered_reads, "PATIENCE", 0.05)
    monkeypatch.setattr(gathered_reads, "ALONE_PATIENCE", 0.2)
    shell, paths = Shell(), files(tmp_path, b"a\n", b"b\n", b"c\n")
    reads = GatheredReads(shell)
    shell.silent = {paths[1]}
    found = await outcomes(reads, paths)
    assert (found[0], found[2]) == (b"a\n", b"c\n")
    assert isinstance(found[1], Unreachable)
    shell.argvs.clear()
    await outcomes(reads, paths)
    assert all(argv[1] == "-c" for argv in shell.argvs)  # each file alone: nobody waits for the one that blocks


async def test_requests_of_a_closed_transport_end(tmp_path: Path) -> None:
    shell, paths = Shell(), files(tmp_path, b"a\n", b"b\n")
    shell.silent = set(paths)
    reads = GatheredReads(shell)
    pending = asyncio.create_task(outcomes(reads, paths))
    while not shell.argvs:
        await asyncio.sleep(0)
    late = asyncio.create_task(outcomes(reads, paths))
    await asyncio.sleep(0)
    reads.close()
    assert {type(one) for one in (*await pending, *await late)} == {Unreachable}
    with pytest.raises(Unreachable):
        await reads.read("ada", paths[0], 100)


@pytest.mark.parametrize("turns", range(6))
async def test_a_request_ends_whenever_the_transport_is_closed(tmp_path: Path, turns: int) -> None:
    """Also if its command is under way but has done nothing yet."""
    shell, paths = Shell(), files(tmp_path, b"a\n")
    shell.silent = set(paths)
    reads = GatheredReads(shell)
    pending = asyncio.create_task(outcomes(reads, paths))
    for _ in range(turns):
        await asyncio.sleep(0)
    reads.close()
    assert [type(one) for one in await asyncio.wait_for(pending, 5)] == [Unreachable]


async def test_a_caller_that_goes_away_takes_no_other_along(tmp_path: Path) -> None:
    reads, paths = GatheredReads(Shell()), files(tmp_path, b"a\n", b"b\n")
    gone, stays = (asyncio.create_task(reads.read("ada", path, 100)) for path in paths)
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == b"b\n"


async def test_slow_commands_of_an_account_follow_one_another_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now, took, sleep = 0.0, 0.0, asyncio.sleep
    pauses: list[float] = []

    async def run(*_command: object) -> tuple[bytes, bytes, int]:
        nonlocal now
        now += took
        return b"there", b"", 0

    async def paused(seconds: float) -> None:
        pauses.append(round(seconds, 6))
        for _ in range(10):  # the command ends meanwhile
            await sleep(0)

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(asyncio, "sleep", paused)
    reads = GatheredReads(run)
    for seconds, expected in ((0.01, [0.1]), (0.05, [0.1, 0.15]), (1.0, [0.1, 0.4]), (0.0, [0.1])):
        took = seconds
        pauses.clear()
        assert await reads.read("ada", "/file", 100) == b"there"
        while reads._rounds:
            await sleep(0)
        assert pauses == expected


@pytest.mark.parametrize(
    ("stdout", "stderr", "code"),
    [
        (b"==> /a <==\none\n\n==> /b <==\ntwo\n", b"", 2),
        (b"Welcome!\n==> /a <==\none\n\n==> /b <==\ntwo\n", b"", 0),
        (b"==> /b <==\ntwo\n\n==> /a <==\none\n", b"", 0),
        (b"==> /a <==\none\n\n==> /b <==\ntwo\n\n==> /b <==\n", b"", 0),
        (b"==> /a <==\none==> /b <==\ntwo\n", b"", 0),
        (b"==> /a <==\none\n", b"", 0),
        (b"==> /a <==\none\n", b"head: cannot open '/b' for reading: Permission denied\n", 1),
        (b"==> /a <==\none\n", b"head: cannot open '/b' for reading: No such file or directory\n", 0),
        (b"", b"", 0),
    ],
)
def test_an_answer_that_is_not_clear_says_nothing(stdout: bytes, stderr: bytes, code: int) -> None:
    assert split(["/a", "/b"], stdout, stderr, code) == {}


async def test_the_local_transport_reads_files_of_an_account_together(tmp_path: Path) -> None:
    transport = LocalTransport(LocalTransportSettings())
    paths = files(tmp_path, b"a\n", b"b\n", b"c\n")
    found = await asyncio.gather(*(transport.read(None, path) for path in paths))
    assert found == [b"a\n", b"b\n", b"c\n"]
    await transport.close()
