"""Changes one key of a YAML text and leaves every other line, comments included, as it is."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from factorycommon.service.yaml_file import CatalogueError


def with_entry(text: str, mapping: str, key: str, value: object) -> str:
    """Return the text with ``key: value`` added to the top-level mapping ``mapping``, which may be missing or empty.

    Raises CatalogueError if the text is not a YAML mapping in block style. Raises CatalogueError, too, if ``mapping``
    has the key already, has entries in braces, or is not a mapping.
    """
    node = _find(text, mapping)
    entry = _block({key: value}, 2)
    if node is None:
        return f"{_ended(text)}{mapping}:\n{entry}"
    name, held = node
    if not isinstance(held, yaml.MappingNode):
        if held.tag != "tag:yaml.org,2002:null":
            raise CatalogueError([f"{mapping}: must be a mapping of names to entries"])
        at = name.end_mark.index + 1  # after the colon
        return _join(text[:at], entry, text[max(at, held.end_mark.index) :])
    if any(str(known.value) == key for known, _ in held.value):
        raise CatalogueError([f"{mapping}.{key}: is there already"])
    if held.flow_style:
        if held.value:
            raise CatalogueError([
                f"{mapping}: is written in braces; write it as indented lines, so that an entry can be added"
            ])  # fmt: skip
        return _join(text[: held.start_mark.index].rstrip(" "), entry, text[held.end_mark.index :])
    last = held.value[-1][1]
    at = _end_of(text, last)
    return f"{_ended(text[:at])}{_block({key: value}, held.start_mark.column)}{text[at:]}"


def with_value(text: str, key: str, value: object) -> str:
    """Return the text in which a top-level key has this value; a missing key is added at the end.

    Raises CatalogueError if the text is not a YAML mapping in block style.
    """
    node = _find(text, key)
    if node is None:
        return f"{_ended(text)}{key}: {_flow(value)}\n"
    start, end = node[1].start_mark.index, _end_of(text, node[1])
    tail = text[node[1].end_mark.index : end] if isinstance(node[1], yaml.ScalarNode) else "\n"
    return f"{text[:start]}{_flow(value)}{tail}{text[end:]}"


def replace(path: Path, text: str) -> None:
    """Replace a file's content by ``text``, atomically; mode and owner of the file stay the same."""
    found = path.stat()
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, found.st_uid, found.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode))
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)


def _find(text: str, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise CatalogueError([f"is no YAML: {error}"]) from error
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise CatalogueError(["expected keys with values, a line each"])
    pairs: Sequence[tuple[Any, Any]] = root.value
    return next(((name, held) for name, held in pairs if str(name.value) == key), None)


def _end_of(text: str, node: yaml.Node) -> int:
    """Return the position after a node's last line.

    Comments and empty lines between the node and the next key do not belong to the node.
    """
    lines = text[: node.end_mark.index].splitlines(keepends=True)
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
            lines.pop()
    at = len("".join(lines))
    if at and text[at - 1] != "\n":
        at = text.find("\n", at) + 1 or len(text)
    return at


def _block(value: dict[str, object], indent: int) -> str:
    made = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return "".join(f"{' ' * indent}{line}" for line in made.splitlines(keepends=True))


def _flow(value: object) -> str:
    return value if isinstance(value, str) and value.isalnum() else json.dumps(value, ensure_ascii=False, default=str)


def _join(before: str, entry: str, after: str) -> str:
    """Return ``before + after`` with ``entry`` inserted after the line on which ``before`` ends.

    ``before`` ends with a key; the first line of ``after`` is the rest of the key's line, for example its comment.
    """
    rest, newline, more = after.partition("\n")
    return f"{before}{rest.rstrip()}\n{entry}{more if newline else ''}"


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"
