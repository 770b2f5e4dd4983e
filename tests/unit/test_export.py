"""A folder as a zip: all of the person's files and nothing else, no link followed, nothing written to the disk."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorygate.exporting import walking, zipping
from factorygate.exporting.walking import NoFolder, opened
from factorygate.exporting.zipping import REPORT, ExportSum, ZipNames, measure, stream

TOP = "first-2345"
SECRET = "of somebody else"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home" / TOP).mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text(SECRET)
    return tmp_path / "home"


def pieces_of(home: Path, done: ExportSum | None = None) -> Iterator[bytes]:
    with opened(home, TOP) as folder:
        yield from stream(folder, TOP, ExportSum() if done is None else done)


def unpacked(content: bytes) -> dict[str, bytes]:
    """Return the files of a zip that is whole, by path."""
    with zipfile.ZipFile(io.BytesIO(content)) as zipped:
        assert zipped.testzip() is None
        assert len(set(zipped.namelist())) == len(zipped.namelist())
        return {one.filename: zipped.read(one) for one in zipped.infolist() if not one.is_dir()}


def exported(home: Path, done: ExportSum | None = None) -> dict[str, bytes]:
    return unpacked(b"".join(pieces_of(home, done)))


def test_files_folders_times_and_modes_are_in_the_zip(home: Path) -> None:
    (home / TOP / "sub" / "empty").mkdir(parents=True)
    (home / TOP / "sub" / "Übung 1.ipynb").write_text("{}")
    (home / TOP / "run.sh").write_text("#!/bin/sh\n")
    (home / TOP / "run.sh").chmod(0o750)
    os.utime(home / TOP / "run.sh", (1_700_000_000, 1_700_000_000))
    os.utime(home / TOP / "sub" / "Übung 1.ipynb", (0, 0))  # older than a zip can say
    (home / TOP / ".factorygate" / "bases").mkdir(parents=True)
    (home / TOP / ".factorygate" / "bases" / "x").write_text("the gateway's")
    content = b"".join(pieces_of(home))
    assert unpacked(content) == {f"{TOP}/sub/Übung 1.ipynb": b"{}", f"{TOP}/run.sh": b"#!/bin/sh\n"}
    with zipfile.ZipFile(io.BytesIO(content)) as zipped:
        assert f"{TOP}/sub/empty/" in zipped.namelist()
        info = zipped.getinfo(f"{TOP}/run.sh")
        assert (info.external_attr >> 16 & 0o777, info.date_time[:3]) == (0o750, (2023, 11, 14))


def test_no_link_is_followed_and_each_is_listed(home: Path) -> None:
    folder = home / TOP
    (folder / "mine").write_text("mine")
    for name, target in (
        ("outside", "../../secret"), ("file", "../../secret/key"), ("root", "/etc"), ("inside", "mine"),
        ("loop", "."), ("gone", "nothing\nhere"),
    ):  # fmt: skip
        (folder / name).symlink_to(target)
    with opened(home, TOP) as opened_folder:
        assert measure(opened_folder).counts == {"link": 6}
    found = exported(home)
    assert sorted(found) == [f"{TOP}/mine", f"{TOP}/{REPORT}"]
    report = found[f"{TOP}/{REPORT}"].decode()
    assert "outside -> ../../secret\n" in report
    assert "gone -> nothing\\nhere\n" in report
    (home / "link").symlink_to("../secret")
    for path in ("link", "link/x", "../secret", f"{TOP}/../../secret", "", "/", f"{TOP}/mine", "nothing", "a\0b"):
        with pytest.raises(NoFolder), opened(home, path):
            pass


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        (b"a\\..\\..\\b", "a_.._.._b"),
        (b"line\nbreak\x1b[31m", "line_break_[31m"),
        (b"latin-\xe4", "latin-_"),
        (b"-rf", "-rf"),
        (b"C:evil", "C:evil"),  # below the folder it is no drive
        (b"<img onerror=alert(1)>", "<img onerror=alert(1)>"),
        (b"...", "..."),
    ],
)
def test_hostile_names_are_harmless_and_their_files_complete(home: Path, name: bytes, safe: str) -> None:
    (Path(os.fsdecode(os.fsencode(home / TOP) + b"/" + name))).write_text("kept")
    found = exported(home)
    assert found[f"{TOP}/{safe}"] == b"kept"
    assert (f"{TOP}/{REPORT}" in found) is (os.fsdecode(name) != safe)


def test_names_that_become_the_same_are_both_in_the_zip(home: Path) -> None:
    for name in ("a\\b", "a_b", "a\nb", REPORT):
        (home / TOP / name).write_text(name)
    found = exported(home)
    assert {found[f"{TOP}/{name}"] for name in ("a_b", "a_b~2", "a_b~3")} == {b"a\\b", b"a_b", b"a\nb"}
    assert found[f"{TOP}/{REPORT}"].decode() == REPORT  # the person's
    assert b"Renamed" in found[f"{TOP}/{REPORT}~2"]


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)


@given(st.dictionaries(NAMES, st.binary(max_size=200), max_size=6))
@settings(max_examples=60, deadline=None)
def test_every_file_of_whatever_name_arrives(files: dict[str, bytes]) -> None:
    with TemporaryDirectory() as base:
        folder = Path(base) / TOP
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        found = exported(Path(base))
        kept = sorted(content for path, content in found.items() if not path.startswith(f"{TOP}/{REPORT}"))
        assert kept == sorted(files.values())
        for path in found:
            parts = path.split("/")
            assert (parts[0], len(parts), "\\" in path) == (TOP, 2, False)


def test_what_is_in_a_renamed_folder_is_below_its_new_name() -> None:
    names = ZipNames("top")
    assert names.of(()) == ("top", False)
    assert names.of(("a\\b",)) == ("top/a_b", True)
    assert names.of(("a_b",)) == ("top/a_b~2", True)
    assert names.of(("a_b", "x")) == ("top/a_b~2/x", True)


def test_renamed_files_count_once_against_the_limit(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipping, "MOST_FILES", 5)
    for number in range(4):
        (home / TOP / f"a\\{number}").write_text("x")
    done = ExportSum()
    files = exported(home, done)
    assert done.whole and len(files) == 5  # with the report


def test_a_file_that_grows_is_as_long_as_it_was_when_it_was_opened(home: Path) -> None:
    (home / TOP / "log").write_bytes(os.urandom(2_000_000))
    pieces = pieces_of(home)
    content = next(pieces)
    with (home / TOP / "log").open("ab") as log:
        log.write(b"x" * 5_000_000)
    found = unpacked(content + b"".join(pieces))
    assert len(found[f"{TOP}/log"]) == 2_000_000
    assert b"Changed or cut off while they were read:\n  log\n" in found[f"{TOP}/{REPORT}"]


def test_a_file_that_shrinks_or_is_replaced_by_a_link_does_no_harm(home: Path) -> None:
    for name in ("a", "b", "c"):
        (home / TOP / name).write_bytes(os.urandom(1_000_000))
    pieces = pieces_of(home)
    content = next(pieces)  # one of the files is open
    for name in ("a", "b", "c"):
        os.truncate(home / TOP / name, 10)
        (home / TOP / name).unlink()
        (home / TOP / name).symlink_to("../../secret/key")
    found = unpacked(content + b"".join(pieces))
    assert all(SECRET.encode() not in one for one in found.values())
    assert b"Links, which are not followed" in found[f"{TOP}/{REPORT}"]


def test_what_is_no_file_does_not_block(home: Path) -> None:
    os.mkfifo(home / TOP / "pipe")
    (home / TOP / "mine").write_text("mine")
    deep = home / TOP
    for _ in range(walking.MOST_DEPTH + 2):
        deep /= "d"
        deep.mkdir()
    (deep / "below").write_text("x")
    found = exported(home)
    assert sorted(found) == [f"{TOP}/mine", f"{TOP}/{REPORT}"]
    assert b"sockets, devices" in found[f"{TOP}/{REPORT}"]
    assert b"too deep" in found[f"{TOP}/{REPORT}"]


def test_beyond_the_limits_it_says_so_before_and_ends_in_a_whole_zip(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (home / TOP / name).write_bytes(b"x" * 1000)
    monkeypatch.setattr(zipping, "MOST_BYTES", 2500)
    with opened(home, TOP) as folder:
        assert not measure(folder).whole
    found = exported(home)  # as if the folder had grown since it was measured
    assert len(found) == 3
    assert b"Beyond the limit" in found[f"{TOP}/{REPORT}"]
    monkeypatch.setattr(zipping, "MOST_BYTES", 3000)
    monkeypatch.setattr(zipping, "MOST_FILES", 3)
    with opened(home, TOP) as folder:
        assert measure(folder).whole
    (home / TOP / "d").mkdir()
    with opened(home, TOP) as folder:
        assert not measure(folder).whole


def test_large_and_many_files_get_the_fields_of_zip64(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (home / TOP / f"{number}").write_bytes(os.urandom(5000))
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 4000)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
    content = b"".join(pieces_of(home))
    assert b"PK\x06\x06" in content  # the end record of zip64
    assert sorted(map(len, unpacked(content).values())) == [5000] * 5


def test_a_cancelled_download_leaves_nothing(home: Path) -> None:
    (home / TOP / "sub").mkdir()
    (home / TOP / "sub" / "large").write_bytes(os.urandom(3_000_000))
    before, files = len(os.listdir("/proc/self/fd")), sorted(str(path) for path in home.rglob("*"))
    done = ExportSum()
    pieces = pieces_of(home, done)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert 0 < done.bytes < 3_000_000
    assert len(os.listdir("/proc/self/fd")) == before
    assert sorted(str(path) for path in home.rglob("*")) == files


def test_a_full_disk_is_no_matter(home: Path) -> None:
    (home / TOP / "large").write_bytes(os.urandom(1_000_000))
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from factorygate.exporting.walking import opened\n"
        "from factorygate.exporting.zipping import ExportSum, stream\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "with opened(Path(sys.argv[1]), sys.argv[2]) as folder:\n"
        "    for piece in stream(folder, sys.argv[2], ExportSum()): sys.stdout.buffer.write(piece)\n"
    )
    made = subprocess.run([sys.executable, "-c", program, str(home), TOP], stdout=subprocess.PIPE, check=True)
    assert len(unpacked(made.stdout)[f"{TOP}/large"]) == 1_000_000


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_the_person_may_not_read_is_named(home: Path) -> None:
    (home / TOP / "closed").mkdir(mode=0o000)
    (home / TOP / "file").write_text("x")
    (home / TOP / "file").chmod(0)
    found = exported(home)
    assert b"Not readable for you:" in found[f"{TOP}/{REPORT}"]
