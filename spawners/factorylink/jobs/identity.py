"""Signs the link's jobs, and recognises them by name, site account, and a comment that only the link can sign.

Any user of the scheduler can copy name and comment, so the signature in the comment covers the account.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from datetime import datetime
from pathlib import Path

import asyncssh
from pydantic import ValidationError

from factorycommon.models import BatchId, Job, Model, Occupant, ResolvedChoice, SessionId, Slot, Slug, UnixAccount
from factorylink.credentials.base import read_private_key, read_secret

_COMMENT = re.compile(r"^(fgb?):([0-9a-f]{32}):([0-9a-f]{16})$")
# A note as it is in the file. The seal is the HMAC of the bytes of the note's JSON in the file, since a release with
# other fields would write different JSON.
_SEALED = re.compile(rb'\{"note":(\{.*\}),"seal":"([0-9a-f]{64})"\}\s*', re.DOTALL)
_SESSION, _BATCH = "fg", "fgb"  # prefixes of the comments of a session's job, and of a job in a cluster's batch


class Note(Model):
    """The data in ``session.json`` in a session's folder, from which a lost row of the ledger is restored.

    ``port``: the link's port that leads to the notebook, 0: none.
    """

    protocol: int = 1
    id: SessionId
    user: Occupant
    server: Slot
    factory: Slug
    account: UnixAccount
    choice: ResolvedChoice
    port: int
    created: datetime


class Identity:
    """Signs the comments of jobs and the files ``session.json`` (``Note``), and recognises those that it has signed.

    ``hub``: the hub's name; ``key``: the link's HMAC key, 32 bytes.
    """

    def __init__(self, hub: str, key: bytes) -> None:
        self.job_name = f"factorygate-{hub}"
        self._key = key

    def comment(self, session_id: SessionId, account: str, factory: str) -> str:
        """Return the signed comment for a session's job that runs under the site account ``account``."""
        return self._comment(_SESSION, session_id, account, factory)

    def batch_comment(self, batch_id: BatchId, account: str, factory: str) -> str:
        """Return the signed comment for each job of a batch of workers that run under the site account ``account``."""
        return self._comment(_BATCH, batch_id, account, factory)

    def session_of(self, job: Job, factory: str) -> SessionId | None:
        """Return the id of a job's session; None if the job is not recognised as a session's job.

        A recognised job has this gateway's job name, and a comment that this gateway signed for the job's account and
        ``factory``.
        """
        return self._whose(_SESSION, job, factory)

    def batch_of(self, job: Job, factory: str) -> BatchId | None:
        """Return the id of a job's batch of workers; None if the job is not recognised as one of a batch.

        A recognised job has this gateway's job name, and a comment that this gateway signed for the job's account and
        ``factory``.
        """
        return self._whose(_BATCH, job, factory)

    def is_of_another_gateway(self, job: Job, factory: str) -> bool:
        """Return whether a job has this gateway's job name, but a comment that this gateway did not sign for the job.

        True only if the comment has the form of a gateway's comment. Another gateway may have signed the comment, or
        somebody may have invented it, or copied it from a job of another account or factory.
        """
        if job.name != self.job_name or not is_of_our_form(job.comment):
            return False
        return self.session_of(job, factory) is None and self.batch_of(job, factory) is None

    def _comment(self, kind: str, id: str, account: str, factory: str) -> str:
        signed = "job" if kind == _SESSION else kind
        return f"{kind}:{id}:{self._mac(signed, id, account, factory)[:16]}"

    def _whose(self, kind: str, job: Job, factory: str) -> str | None:
        match = _COMMENT.match(job.comment)
        if match is None or match[1] != kind or job.name != self.job_name:
            return None
        expected = self._comment(kind, match[2], job.account, factory)
        return match[2] if hmac.compare_digest(expected, job.comment) else None

    def seal(self, note: Note) -> str:
        """Return the text of ``session.json``: the note, and its seal, which is an HMAC."""
        written = note.model_dump_json()
        return f'{{"note":{written},"seal":"{self._mac("note", written)}"}}\n'

    def unseal(self, text: bytes) -> Note | None:
        """Return the note in the contents of ``session.json`` if it is complete and signed by this link, else None.

        Fields that only other releases know are ignored.
        """
        sealed = _SEALED.fullmatch(text)
        if sealed is None or not hmac.compare_digest(self._mac("note", sealed[1]), sealed[2].decode()):
            return None
        try:
            return Note.model_validate_json(sealed[1], extra="ignore")
        except ValidationError:
            return None

    def _mac(self, *words: str | bytes) -> str:
        signed = b"|".join(word if isinstance(word, bytes) else word.encode() for word in words)
        return hmac.digest(self._key, signed, "sha256").hex()


def is_of_our_form(comment: str) -> bool:
    """Return whether a comment has the form of a gateway's comment; only its signature shows whose comment it is."""
    return _COMMENT.match(comment) is not None


def read_or_make_key(path: Path, make: bool = True) -> bytes:
    """Return the HMAC key from the file ``path`` (mode 0600).

    ``make``: whether to make a key and write it if there is no file, as at the link's first start. Raises OSError, also
    if there is no file and ``make`` is False; ValueError if the file holds no key, or if an account other than the
    link's and root owns or may use it.
    """
    key = (_read_or_make(path, secrets.token_hex(32).encode() + b"\n") if make else read_secret(path)).strip()
    if not re.fullmatch(rb"[0-9a-f]{64}", key):
        raise ValueError(
            f"{path} is not a key of this link; restore it from your backup (removing it orphans all jobs)"
        )
    return bytes.fromhex(key.decode())


def read_or_make_ssh_key(path: Path, make: bool = True) -> asyncssh.SSHKey:
    """Return the SSH key with which the link logs in to its doors, from the file ``path`` (mode 0600).

    ``make``: whether to make a key and write it if there is no file, as at the link's first start. Raises OSError, also
    if there is no file and ``make`` is False; ValueError if the file holds no key, or if an account other than the
    link's and root owns or may use it.
    """
    if make:
        made = asyncssh.generate_private_key("ssh-ed25519", comment="factorygate link")
        _read_or_make(path, made.export_private_key())
    return read_private_key(path)


def _read_or_make(path: Path, content: bytes) -> bytes:
    """Return the file's content; if there is no file, first write ``content`` to it, completely or not at all."""
    try:
        return read_secret(path)
    except FileNotFoundError:
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
        return content
