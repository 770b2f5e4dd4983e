"""Uploads in pieces: complete or not at all, whatever happens in between."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorygate.session.jupyter.partial_uploads import LAST, STALE_SECONDS, OutOfOrder, Parts


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path / "records")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder / "data.bin"


def left(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_the_file_is_there_only_when_it_is_whole(parts: Parts, target: Path) -> None:
    part = parts.open(target)
    for number, data in enumerate([b"one", b"two", b"three"], 1):
        parts.write(part, number, data)
        assert not target.exists()
    parts.write(part, LAST, b"end")
    assert not target.exists()
    parts.finish(part)
    assert target.read_bytes() == b"onetwothreeend"
    assert left(target) == ["data.bin"]
    assert not list((target.parent.parent / "records").iterdir())


def test_the_old_file_stays_until_the_end_and_its_mode_after(parts: Parts, target: Path) -> None:
    target.write_bytes(b"old")
    target.chmod(0o640)
    part = parts.open(target)
    parts.write(part, 1, b"new")
    assert target.read_bytes() == b"old"
    parts.write(part, LAST, b"er")
    parts.finish(part)
    assert target.read_bytes() == b"newer"
    assert target.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("number", [3, 0, -2, 7])
def test_a_piece_out_of_order_is_refused_and_changes_nothing(parts: Parts, target: Path, number: int) -> None:
    part = parts.open(target)
    parts.write(part, 1, b"one")
    with pytest.raises(OutOfOrder, match="piece 2 was to come"):
        parts.write(part, number, b"wrong")
    assert part.path.read_bytes() == b"one"
    parts.write(part, 2, b"two")
    assert part.path.read_bytes() == b"onetwo"


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=6),
    repeats=st.lists(st.integers(1, 3), min_size=6, max_size=6),
)
def test_a_repeated_piece_counts_once(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], repeats: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("repeat")
    parts, target = Parts(folder / "records"), folder / "file"
    part = parts.open(target)
    for number, (data, times) in enumerate(zip(pieces, repeats, strict=False), 1):
        for _ in range(times):
            parts.write(part, number, data)
    parts.write(part, LAST, b"!")
    parts.finish(part)
    assert target.read_bytes() == b"".join(pieces) + b"!"


def test_a_failed_write_leaves_the_part_as_it_was(parts: Parts, target: Path) -> None:
    import resource

    part = parts.open(target)
    parts.write(part, 1, b"x" * 1000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, hard))  # the kernel's own "file too large" at 1500 bytes
    try:
        with pytest.raises(OSError, match="File too large"):
            parts.write(part, 2, b"y" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert part.path.read_bytes() == b"x" * 1000
    parts.write(part, 2, b"y" * 1000)
    assert part.size == 2000


def test_a_folder_and_a_file_that_may_not_be_written_are_refused(parts: Parts, target: Path) -> None:
    target.mkdir()
    with pytest.raises(IsADirectoryError):
        parts.open(target)
    if os.geteuid() != 0:
        file = target / "kept"
        file.touch(0o400)
        with pytest.raises(PermissionError):
            parts.open(file)
    with pytest.raises(FileNotFoundError):
        parts.open(target / "nowhere" / "x")
    assert not list((target.parent.parent / "records").iterdir())


def test_the_longest_names_fit(parts: Parts, target: Path) -> None:
    long = target.parent / ("ü" * 127)  # 254 bytes
    part = parts.open(long)
    parts.write(part, LAST, b"x")
    parts.finish(part)
    assert long.read_bytes() == b"x"


def test_only_interrupted_uploads_are_removed(parts: Parts, target: Path) -> None:
    cut, growing, moved = (parts.open(target.with_name(name)) for name in ("cut", "growing", "moved"))
    parts.write(cut, 1, b"x")
    now = time.time()
    os.utime(cut.path, (now, now - STALE_SECONDS - 1))
    moved.path.unlink()
    os.utime(moved.record, (now, now - STALE_SECONDS - 1), follow_symlinks=False)
    innocent = target.with_name("innocent")
    innocent.touch()
    os.utime(innocent, (1, 1))
    (cut.record.parent / "0123456789abcdef").symlink_to(innocent)  # a malicious record
    assert parts.sweep(now) == [cut.path]
    assert left(target) == [growing.path.name, "innocent"]
    assert [path.name for path in growing.record.parent.iterdir()] == [growing.record.name]
    assert Parts(cut.record.parent).sweep(now + STALE_SECONDS + 1) == [growing.path]


def test_nothing_to_sweep_is_fine(tmp_path: Path) -> None:
    assert Parts(tmp_path / "never made").sweep(0) == []
