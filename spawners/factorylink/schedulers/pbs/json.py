"""Parses JSON as PBS' programs print it. Pure.

Releases after OpenPBS 23.06 write JSON with a library. The released 23.06 and earlier releases do not, and print a
quote in a person's text without escaping it, so that the text seems to end at the quote, and the rest of the text can
add names, objects and whole jobs to the answer. All releases print each name on a line of its own, and no line ends
within a text. So ``documents`` refuses an answer with more names than lines that begin with a name, and ``once``
refuses a name that an object contains twice. Other faults of these releases are harmless and are repaired: control
characters, backslashes that JSON does not allow, and unquoted words that C reads as numbers (the value ``+5`` or
``infinity`` of a variable).
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from factorylink.errors import Misread

LARGEST = 10**10  # the largest number that is accepted
_TOP = {"timestamp", "pbs_version", "pbs_server"}
_CONTROLS = {code: "\ufffd" for code in range(32) if chr(code) not in "\t\n\r"}
# Only on a line of its own, since no text continues on the next line.
_BARE = re.compile(r'^([ \t]*"(?:[^"\\\n]|\\.)*":[ \t]?)([\w.+()-]+)(?=,?$)', re.M | re.ASCII)
# A name at the beginning of a line, which PBS printed, or after the brace of our own ``{"Jobs": {}}``.
_NAME = re.compile(r'^[ \t]*(?:\{[ \t]*)?"(?:[^"\\\n]|\\.)*"[ \t]*:', re.M)
_VALUE = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|true|false|null")
_BACKSLASH = re.compile(r"\\([\"\\/bfnrt]|u[0-9A-Fa-f]{4})?")


@contextlib.contextmanager
def understood(stdout: str) -> Iterator[None]:
    """Return a context manager that raises Misread, with the answer ``stdout``, if its block cannot read the answer.

    Misread replaces a ValueError, TypeError, KeyError, OverflowError or RecursionError of the block.
    """
    try:
        yield
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise Misread(f"PBS' answer is not understood: {error}", stdout) from error


def documents(stdout: str, *kinds: str) -> list[dict[str, Any]]:
    """Return, for each of ``kinds`` (``Jobs``, ``nodes``, ...) in this order, the objects of this kind by name.

    ``stdout``: one JSON document for each kind. Raises Misread for other content, and if two names are on one line.
    """
    names = 0

    def made(pairs: list[tuple[str, Any]]) -> _Object:
        nonlocal names
        names += len(pairs)
        return _Object.of(pairs)

    decoder = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=made)
    found = []
    rest = text = _mended(stdout)
    with understood(stdout):
        for kind in kinds:
            answer, end = decoder.raw_decode(rest.lstrip())
            rest = rest.lstrip()[end:]
            # PBS omits the key of a kind if there are no such objects.
            if not isinstance(answer, _Object) or not answer or answer.twice or not set(answer) <= _TOP | {kind}:
                raise ValueError(f"it is not about {kind}")
            found.append(as_dict(answer.get(kind, {})))
        if rest.strip():
            raise ValueError("there is more than was asked for")
        if names > sum(1 for _ in _NAME.finditer(text)):
            raise ValueError("two names are on one line, as after a quote that is not escaped")
    return found


def _mended(text: str) -> str:
    """Return ``text`` with control characters replaced, invalid escapes repaired, and unquoted words quoted.

    Line ends and tabs are kept. Valid JSON is not changed.
    """
    plain = _BARE.sub(_quoted, text.translate(_CONTROLS))
    return _BACKSLASH.sub(lambda found: found[0] if found[1] else r"\\", plain) if "\\" in plain else plain


def _quoted(found: re.Match[str]) -> str:
    return found[0] if _VALUE.fullmatch(found[2]) else f'{found[1]}"{found[2]}"'


class _Object(dict[str, Any]):
    """A JSON object that records in ``twice`` a name that it contains twice, since a dict keeps only the last value."""

    twice: str | None = None

    @classmethod
    def of(cls, pairs: list[tuple[str, Any]]) -> _Object:
        made = cls(pairs)
        if len(made) < len(pairs):
            made.twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        return made


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def as_text(values: Mapping[str, Any], key: str) -> str:
    """Return ``values[key]`` as text. Raises ValueError if it is missing, empty, or neither text nor number."""
    value = values.get(key)
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)  # a queue or account named 42 becomes a number in JSON
    raise ValueError(f"{key} is {value!r}")


def as_number(values: Mapping[str, Any], key: str) -> int | None:
    """Return ``values[key]`` as an int; None if it is missing.

    Raises ValueError if it is no whole number, or too large.
    """
    value = values.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or abs(value) > LARGEST):
        raise ValueError(f"{key} is {str(value)[:40]}")
    return value


def as_dict(value: object) -> dict[str, Any]:
    """Return ``value`` if it is a JSON object, else raise TypeError."""
    if not isinstance(value, dict):
        raise TypeError(f"{str(value)[:100]!r} is no object")
    return value


def items(found: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each name in ``found``, such as a job's id, with its object. Raises TypeError if a value is no object."""
    for name, values in found.items():
        yield name, as_dict(values)


def once(found: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each name in ``found``, such as a job's id, with its object.

    Raises ValueError if ``found`` or one of these objects contains a name twice, TypeError if a value is no object.
    """
    for name, values in items(found):
        for one in (found, values):
            if isinstance(one, _Object) and one.twice is not None:
                raise ValueError(f"{one.twice} is there twice")
        yield name, values
