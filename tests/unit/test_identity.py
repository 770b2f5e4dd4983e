"""The conditions under which a job or a note belongs to this gateway."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorycommon.models import Job, JobState, ResolvedChoice
from factorylink.jobs.identity import Identity, Note, read_or_make_key, read_or_make_ssh_key
from tests.support import recorded_release
from tests.unit.fake_factory import ID, KEY, OTHER

OURS = Identity("hub", KEY)
CHOICE = ResolvedChoice(factory="one", size="gpu-1", environment="plain", hours=1, idle_minutes=60, unopened_minutes=30)
NOTE = Note(
    id=ID, user="ada", server="", factory="one", account="a", choice=CHOICE, port=20000, created=datetime.now(UTC)
)


def job(comment: str, name: str = "factorygate-hub", account: str = "a") -> Job:
    return Job(id="1", name=name, account=account, comment=comment, state=JobState.PENDING, raw_state="PENDING")


def test_a_job_is_ours_only_if_name_and_comment_agree() -> None:
    comment = OURS.comment(ID, "a", "one")
    assert OURS.session_of(job(comment), "one") == ID
    assert OURS.session_of(job(comment, account="b"), "one") is None
    assert OURS.session_of(job(comment, name="factorygate-other"), "one") is None
    assert OURS.session_of(job(comment), "two") is None
    assert OURS.session_of(job(comment.replace(ID, OTHER)), "one") is None
    assert Identity("hub", bytes(32)).session_of(job(comment), "one") is None


@given(st.text(max_size=80))
def test_no_comment_causes_an_error(text: str) -> None:
    assert OURS.session_of(job(text), "one") is None


def test_a_note_is_believed_only_whole() -> None:
    text = OURS.seal(NOTE).encode()
    assert OURS.unseal(text) == NOTE
    assert OURS.unseal(text.replace(b'"ada"', b'"eve"')) is None
    assert OURS.unseal(text[:-20]) is None
    assert OURS.unseal(b"") is None
    assert Identity("hub", bytes(32)).unseal(text) is None


def sealed_by_another_release(note: str) -> bytes:
    """Return a note as another release writes it: with other fields, or in another form of JSON."""
    seal = hmac.new(KEY, f"note|{note}".encode(), hashlib.sha256).hexdigest()
    return f'{{"note":{note},"seal":"{seal}"}}\n'.encode()


def test_a_note_of_a_release_with_other_fields_is_believed() -> None:
    written = NOTE.model_dump(mode="json")
    fewer = {key: value for key, value in written.items() if key != "protocol"}
    assert OURS.unseal(sealed_by_another_release(json.dumps(fewer))) == NOTE
    more = written | {"later": [1], "choice": written["choice"] | {"later": "}"}}
    assert OURS.unseal(sealed_by_another_release(json.dumps(more))) == NOTE
    assert OURS.unseal(sealed_by_another_release(json.dumps(more)).replace(b'"later"', b'"Later"')) is None
    assert OURS.unseal(sealed_by_another_release(json.dumps(more | {"port": "many"}))) is None


SEALS = """
import sys
from datetime import UTC, datetime
from factorycommon.models import ResolvedChoice
from factorylink.jobs.identity import Identity, Note
choice = ResolvedChoice(factory="one", size="gpu-1", environment="plain", hours=1, idle_minutes=60, unopened_minutes=30)
note = Note(id=sys.argv[1], user="ada", server="", factory="one", account="a", choice=choice, port=20000,
            created=datetime.fromtimestamp(float(sys.argv[3]), UTC))
print(Identity("hub", bytes.fromhex(sys.argv[2])).seal(note), end="")
"""


def test_a_note_of_the_release_before_is_believed(tmp_path: Path) -> None:
    before = recorded_release.search_path(recorded_release.unpack(tmp_path))
    argv = [sys.executable, "-c", SEALS, ID, KEY.hex(), str(NOTE.created.timestamp())]
    env = {**os.environ, "PYTHONPATH": before}
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, check=True)
    assert OURS.unseal(done.stdout) == NOTE
    assert OURS.seal(NOTE).encode() == done.stdout  # and the earlier release accepts our notes


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    key = read_or_make_key(tmp_path / "hmac.key")
    assert len(key) == 32
    assert read_or_make_key(tmp_path / "hmac.key") == key
    ssh = read_or_make_ssh_key(tmp_path / "link_ed25519")
    assert read_or_make_ssh_key(tmp_path / "link_ed25519").export_public_key() == ssh.export_public_key()
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for read_or_make in (read_or_make_key, read_or_make_ssh_key):
        with pytest.raises(FileNotFoundError):
            read_or_make(tmp_path / "missing", make=False)
    assert not (tmp_path / "missing").exists()
    (tmp_path / "hmac.key").write_text("damaged")
    with pytest.raises(ValueError, match="backup"):
        read_or_make_key(tmp_path / "hmac.key")
