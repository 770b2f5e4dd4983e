"""Parses shares of GPUs: the part of a GPU that is billed, and the slice of a GPU that a job requests. Pure.

Programs in jobs use this module, so it imports the standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

MOST_PARTS = 1000  # the largest denominator of a billed share
ALLOWED_SHARES = 'a fraction such as 1/7, or a decimal number such as "0.25"; above 0, parts of at most 1/1000'
ALLOWED_SLICES = "gpu:TYPE:NUMBER with a TYPE that ends in a MIG profile, as gpu:1g.10gb:1, or shard:NUMBER"

_SHARE = re.compile(r"[0-9]{1,4}(/[1-9][0-9]{0,3}|\.[0-9]{1,6})?")
_PROFILE = r"(?:[0-9]c\.)?[0-9]g\.(?P<memory>[0-9]{1,4})gb(?:\+[a-z]{1,8}(?:\.[a-z]{1,8})?)?"
_TYPE = re.compile(rf"(?:[A-Za-z0-9_.-]*?[_.-])??(?P<profile>{_PROFILE})")
_REQUEST = re.compile(r"(?:gpu:(?P<type>[A-Za-z0-9_.+-]{1,100})|shard):(?P<count>[1-9][0-9]{0,2})")


def parse_share(text: object) -> Fraction:
    """Return the exact share of a GPU that a text or a number says: ``1/7``, ``0.25``, ``2``.

    Raises ValueError for 0, and for anything else that ``ALLOWED_SHARES`` does not allow.
    """
    words = "" if isinstance(text, bool) else str(text).strip()
    if _SHARE.fullmatch(words):
        share = Fraction(words)
        if share > 0 and share.denominator <= MOST_PARTS:
            return share
    raise ValueError(f"{words[:40]!r} is no share of a GPU; allowed: {ALLOWED_SHARES}")


def plain(share: Fraction) -> int | float:
    """Return the share as a number for JSON: an int if it is whole, else the nearest float."""
    return share.numerator if share.denominator == 1 else float(share)


@dataclass(frozen=True)
class GpuSlice:
    """The slices of GPUs that one job requests.

    ``kind``: ``mig`` for NVIDIA's MIG devices, ``shard`` for Slurm's shares of a GPU that several jobs use at a time;
    ``type``: the GRES type, "" for shards; ``profile``: the MIG profile at the end of the type, as ``1g.10gb``, "" for
    shards; ``memory_gb``: the memory of one slice, 0 for shards, which have no memory of their own; ``count``: how many
    slices.
    """

    kind: Literal["mig", "shard"]
    type: str
    profile: str
    memory_gb: int
    count: int

    @property
    def devices(self) -> int:
        """Return the number of devices that the job sees: one for all shards, which are parts of one GPU."""
        return self.count if self.kind == "mig" else 1


def mig_profile(gres_type: str) -> str:
    """Return the MIG profile at the end of a GRES type, as ``1g.10gb`` of ``a100_1g.10gb``; "" if there is none."""
    found = _TYPE.fullmatch(gres_type)
    return "" if found is None else found["profile"]


def parse_slice(gres: str) -> GpuSlice | None:
    """Return the slices that a GRES text requests: ``gpu:1g.10gb:1``, ``shard:4``. None for every other text."""
    request = _REQUEST.fullmatch(gres)
    if request is None:
        return None
    count, gres_type = int(request["count"]), request["type"]
    if gres_type is None:
        return GpuSlice("shard", "", "", 0, count)
    found = _TYPE.fullmatch(gres_type)
    return None if found is None else GpuSlice("mig", gres_type, found["profile"], int(found["memory"]), count)
