"""The files that the wrapper reads and writes in an account's home, and the links that it does not follow."""

from __future__ import annotations

import io
import os
import pwd
import secrets
import shutil
import tarfile
from pathlib import Path

import pytest

from factorylink.sessions.submitter import write_files
from tests.support.wrapper import ADA, Wrapper, refused, write_note

pytestmark = [pytest.mark.slurm, pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def _archive(*members: tuple[str, bytes, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, kind, content in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname = kind, len(content), "/etc/passwd"
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def test_a_link_in_place_of_a_file(wrapper: Wrapper) -> None:
    folder = Path(wrapper.session(ADA))
    for name, argv in (("door.json", ("head", "-c", "99")), ("job.log", ("tail", "-n", "40"))):
        (folder / name).symlink_to("/etc/passwd")
        refused(wrapper.run(ADA, *argv, "--", str(folder / name)))


def test_a_note_behind_a_symbolic_link_is_refused(wrapper: Wrapper, tmp_path: Path) -> None:
    """The note replaces the link; the link's target stays unchanged."""
    folder, kept = Path(wrapper.session(ADA)), tmp_path / "kept"
    kept.write_text("mine")
    (folder / "session.json").unlink()
    (folder / "session.json").symlink_to(kept)
    (folder / "session.json.new").symlink_to(kept)
    assert wrapper.ask(ADA, write_note(str(folder), "{}")).returncode == 0
    assert kept.read_text() == "mine"
    assert not (folder / "session.json").is_symlink()


def test_a_link_in_place_of_a_folder(wrapper: Wrapper, tmp_path: Path) -> None:
    folder = Path(wrapper.session(ADA))
    shutil.rmtree(folder)
    folder.symlink_to(tmp_path)
    refused(wrapper.ask(ADA, write_note(str(folder), "{}")))
    assert list(tmp_path.iterdir()) == []
    folder.unlink()


def test_a_pipe_or_anothers_file(wrapper: Wrapper) -> None:
    folder = Path(wrapper.session(ADA))
    os.mkfifo(folder / "end.json")
    os.chown(folder / "end.json", *[pwd.getpwnam(ADA).pw_uid] * 2)
    refused(wrapper.run(ADA, "head", "-c", "9", "--", str(folder / "end.json")), "not a plain file")
    (folder / "door.json").write_text("root's")
    (folder / "door.json").chmod(0o644)
    refused(wrapper.run(ADA, "head", "-c", "9", "--", str(folder / "door.json")), "not a plain file")


def test_files_are_opened_as_the_account(wrapper: Wrapper) -> None:
    folder = Path(wrapper.session(ADA))
    (folder / "end.json").write_text("{}")
    os.chown(folder / "end.json", *[pwd.getpwnam(ADA).pw_uid] * 2)
    (folder / "end.json").chmod(0o000)  # root could read it
    refused(wrapper.run(ADA, "head", "-c", "9", "--", str(folder / "end.json")), "Permission denied")


ONE = "0123456789abcdef" * 2
ARCHIVES = {
    "another name": _archive((f"{ONE}/.bashrc", tarfile.REGTYPE, b"x")),
    "a way out": _archive((f"{ONE}/../../session.json", tarfile.REGTYPE, b"x")),
    "an absolute path": _archive((f"/{ONE}/session.json", tarfile.REGTYPE, b"x")),
    "no session": _archive(("session.json", tarfile.REGTYPE, b"x")),
    "another folder": _archive((".ssh", tarfile.DIRTYPE, b""), (f"{ONE}/session.json", tarfile.REGTYPE, b"x")),
    "a folder alone": _archive((ONE, tarfile.DIRTYPE, b"")),
    "two files": _archive((f"{ONE}/session.json", tarfile.REGTYPE, b"x"), (f"{ONE}/x", tarfile.REGTYPE, b"x")),
    "a link": _archive((f"{ONE}/session.json", tarfile.SYMTYPE, b"")),
    "a link to a folder": _archive((ONE, tarfile.SYMTYPE, b""), (f"{ONE}/session.json", tarfile.REGTYPE, b"x")),
    "a hard link": _archive((f"{ONE}/session.json", tarfile.LNKTYPE, b"")),
    "a device": _archive((f"{ONE}/session.json", tarfile.CHRTYPE, b"")),
    "no archive": b"not at all",
    "nothing": b"",
    "too much": _archive((f"{ONE}/session.json", tarfile.REGTYPE, b"x" * 70000)),
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_archives(wrapper: Wrapper, what: str) -> None:
    sessions = Path(wrapper.session(ADA)).parent
    refused(wrapper.run(ADA, "tar", "-x", "-m", "-f", "-", "-C", str(sessions), stdin=ARCHIVES[what]), "archive")
    # Demos that run at the same time have sessions in the same home, whose files come and go.
    assert not {path.name for path in sessions.iterdir()} & {ONE, ".ssh", ".bashrc", "session.json", "x"}
    assert not (sessions.parent / "session.json").exists()
    assert not Path(f"/{ONE}").exists()


def test_many_notes_at_once(wrapper: Wrapper) -> None:
    sessions = Path(wrapper.session(ADA)).parent
    names = ("session.json", "cluster.json", "worker.json")
    notes = {f"{secrets.token_hex(16)}/{names[number % 3]}": f"note {number}" for number in range(20)}
    wrapper.made += [(sessions / file).parent for file in notes]
    assert wrapper.ask(ADA, write_files(str(sessions), notes)).returncode == 0
    assert {file: (sessions / file).read_text() for file in notes} == notes


def test_the_log_of_a_clusters_job(wrapper: Wrapper) -> None:
    folder = Path(wrapper.session(ADA))
    log = folder / f"{'b' * 32}-17.log"
    log.write_text("one\ntwo\n")
    os.chown(log, *[pwd.getpwnam(ADA).pw_uid] * 2)
    assert wrapper.run(ADA, "tail", "-n", "1", "--", str(log)).stdout == b"two\n"
    refused(wrapper.run(ADA, "tail", "-n", "1", "--", str(folder / f"{'b' * 32}-17xlog")), "not a file of a session")
    refused(wrapper.run(ADA, "head", "-c", "9", "--", str(log)), "not a file of a session")
