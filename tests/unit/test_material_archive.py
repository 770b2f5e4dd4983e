"""Names and archives of material: what is hostile is refused, what is packed comes out as it was."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorycommon.material.archive import BadArchive, MaterialFile, MaterialLimits, hash_of, pack, unpack
from factorycommon.material.names import fault_of, faults

GOOD = ["README.md", "a/b/c.ipynb", ".gitignore", "Übung 1.ipynb", "data/x.tar.gz", "a b.txt", "日本語.md"]
BAD = [
    "", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/.", ".git/hooks/post-checkout", "sub/.GIT/config",
    "GIT~1/x", ".factorygate/delivered.json", "-u", "a/-rf", "a\nb", "a\x1b[31m", "a\u202eb", "a\u200bb", "\ud800",
    "con", "AUX.txt", "a/nul", "com1.ipynb", "a:b", "a\\b", "a?", "a*", 'a"', "<img onerror=x>", "a.", "a ", " a",
    "x" * 201, "a/" * 16 + "b",
]  # fmt: skip


@pytest.mark.parametrize("path", GOOD)
def test_an_ordinary_name_is_allowed(path: str) -> None:
    assert fault_of(path) is None


@pytest.mark.parametrize("path", BAD)
def test_a_hostile_name_is_refused(path: str) -> None:
    assert fault_of(path)


@pytest.mark.parametrize(
    "paths", [["a.txt", "A.txt"], ["a", "a/b"], ["Sub/a", "sub/b"], ["\u00e9.txt", "e\u0301.txt"], ["ß", "SS"]]
)
def test_names_that_are_one_file_on_some_systems_are_refused(paths: list[str]) -> None:
    assert len(faults(paths)) == 1
    assert len(faults(reversed(paths))) == 1


NAMES = st.text(st.characters(codec="utf-8"), max_size=6)


@given(st.lists(NAMES, max_size=3).map("/".join))
def test_an_allowed_name_stays_below_its_folder(path: str) -> None:
    if fault_of(path) is None:
        parts = path.split("/")
        assert not {"", ".", ".."} & set(parts)
        assert not any(part.startswith("-") or "\0" in part or "\n" in part for part in parts)


FILES = st.dictionaries(
    st.sampled_from(GOOD), st.builds(MaterialFile, st.binary(max_size=100), st.booleans()), max_size=5
)


@given(FILES)
def test_what_is_packed_comes_out_as_it_was_and_always_as_the_same_bytes(files: dict[str, MaterialFile]) -> None:
    archive = pack(files)
    assert unpack(archive) == files
    assert pack(dict(reversed(files.items()))) == archive


@given(FILES, st.data())
def test_a_damaged_archive_is_refused_or_gives_allowed_files(
    files: dict[str, MaterialFile], data: st.DataObject
) -> None:
    archive = bytearray(pack(files))
    for _ in range(data.draw(st.integers(1, 3))):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = unpack(bytes(archive))
    except BadArchive:
        return
    assert not faults(found)


def tarred(*members: tarfile.TarInfo, content: bytes = b"x") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return gzip.compress(packed.getvalue())


def member(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    made.linkname = "/etc/passwd"
    return made


@pytest.mark.parametrize(
    "archive",
    [
        tarred(member("link", tarfile.SYMTYPE)), tarred(member("link", tarfile.LNKTYPE)),
        tarred(member("dev", tarfile.CHRTYPE)), tarred(member("pipe", tarfile.FIFOTYPE)),
        tarred(member("folder", tarfile.DIRTYPE)), tarred(member("../x")), tarred(member("/x")),
        tarred(member("a"), member("a")), tarred(member("a"), member("A")), b"", b"\x1f\x8b", b"x" * 100,
        tarred(member("a")) + b"more", gzip.compress(b"no tar" * 1000),
    ],
    ids=str.split("symlink hardlink device fifo folder above absolute twice case empty magic garbage more no-tar"),
)  # fmt: skip
def test_an_archive_with_anything_but_regular_files_is_refused(archive: bytes) -> None:
    with pytest.raises(BadArchive):
        unpack(archive)


def test_an_archive_that_grows_beyond_the_limits_is_refused_before_it_has_grown() -> None:
    limits = MaterialLimits(files=2, file_bytes=1000, total_bytes=1500)
    with pytest.raises(BadArchive, match="larger"):
        unpack(gzip.compress(bytes(200 << 20)), limits)
    for files in ({"a": b"x" * 1001}, {"a": b"x" * 900, "b": b"x" * 900}, {"a": b"", "b": b"", "c": b""}):
        archive = pack({path: MaterialFile(content) for path, content in files.items()})
        with pytest.raises(BadArchive):
            unpack(archive, limits)
        with pytest.raises(BadArchive):
            pack({path: MaterialFile(content) for path, content in files.items()}, limits)


def test_the_hash_of_a_file_is_its_sha256() -> None:
    assert MaterialFile(b"").hash == hash_of(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
