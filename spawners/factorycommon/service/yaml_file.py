"""Reads a YAML file into a model, and explains its mistakes with file and line.

``read_model`` and ``read_chosen`` raise ``CatalogueError``, whose ``problems`` are lines of the form ``file:line:
dotted.key: message``; line and key are left out if they are not known. All values that do not fit the model are
reported together, so that an operator corrects the file once. If the file is not valid YAML, or has a key twice, only
these mistakes are reported.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)
Key = str | int

MOST_BYTES = 8 * 2**20
MOST_VALUES = 500_000  # maximum number of values of a file, with aliases written out

# Descriptions of the models' patterns, for people who do not read regular expressions.
_PATTERNS = {
    r"^[a-z0-9][a-z0-9-]{0,62}$": "small letters, digits and '-', at most 63, beginning with a letter or digit",
    r"^[A-Z]{2}$": "a country code of two capital letters, in quotes ('NO' unquoted is the YAML word for false)",
    r"^[A-Za-z0-9_][A-Za-z0-9_.:,@+=/-]{0,254}$": "one word without blanks: letters, digits and _.:,@+=/-",
    r"^[a-z_][a-z0-9_.-]{0,31}$": "a Unix account name",
    r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$": "a project's id: letters, digits and _.-, at most 64",
    r"^https?://[^\s]+$": "an address that begins with https:// or http://",
    r"^/([A-Za-z0-9_./-]*/)?$": "a path that begins and ends with '/', such as /jupyter/",
    r"^(~|/)[A-Za-z0-9_./-]*$": "a path that begins with '/' or '~'",
    r"^/[A-Za-z0-9_./-]+$": "a full path: '/', letters, digits and _.-",
    r"^[A-Za-z0-9][A-Za-z0-9.:-]*?(:[0-9]{1,5})?$": "HOST or HOST:PORT",
    r"^(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\n]*)?$": "a public key as in a .pub file: ssh-ed25519 AAAA…",
    r"^[a-z]{2}$": "a language code of two small letters, in quotes ('no' unquoted is the YAML word for false)",
}


class CatalogueError(Exception):
    """Raised if an operator must correct something, such as a file.

    ``problems``: a text for each mistake, with its place in the file if that is known.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def read_model(path: Path, model: type[M]) -> M:
    """Return the content of a file as a ``model``.

    Raises CatalogueError if the file cannot be read, is too large, is not YAML, has a key twice, or does not fit the
    model.
    """
    return read_chosen(path, lambda _: model)


def read_chosen(path: Path, choose: Callable[[dict[str, Any]], type[M]]) -> M:
    """Return the file as the model that ``choose`` selects for the file's content.

    Raises CatalogueError if the file cannot be read, is too large, is not YAML, has a key twice, or does not fit the
    model.
    """
    try:
        with path.open("rb") as file:
            read = file.read(MOST_BYTES + 1)
        if len(read) > MOST_BYTES:
            raise CatalogueError([f"{path}: has more than {MOST_BYTES // 2**20} MiB"])
        text = read.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueError([f"{path}: cannot be read: {error}"]) from error
    try:
        loader = yaml.CSafeLoader(text)  # by libyaml: eight times as fast
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise CatalogueError([f"{path}:1: expected keys with values"])
        if _values(node, {}) > MOST_VALUES:
            raise CatalogueError([f"{path}: its aliases stand for more than {MOST_VALUES} values"])
        twice = [f"{path}:{line}: {key}: the key is there twice" for key, line in _twice(node, ())]
        if twice:
            raise CatalogueError(twice)
        data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise CatalogueError([f"{path}:{line}: not valid YAML: {error.problem or error.context}"]) from error
    except yaml.YAMLError as error:
        raise CatalogueError([f"{path}:1: not valid YAML: {error}"]) from error
    except ValueError as error:  # a text that looks like a date, zone or number and is none
        raise CatalogueError(
            [f"{path}:{line}" for line in (_no_values(node, ()) if node else ())] or [f"{path}: {error}"]
        ) from error
    except RecursionError as error:
        raise CatalogueError([f"{path}: holds itself by an alias, or is nested too deeply"]) from error
    model = choose(data)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = sorted((*_position(node, [*one["loc"]]), _line(path, node, model, one)) for one in _details(error))
        raise CatalogueError([line for _, _, line in found]) from error


def _details(error: ValidationError) -> Iterator[ErrorDetails]:
    """Yield the mistakes of a ValidationError, without "too few entries" for a list whose entries have mistakes."""
    details = error.errors()
    for detail in details:
        inner = any(len(one["loc"]) > len(detail["loc"]) and one["loc"][: len(detail["loc"])] == detail["loc"]
                    for one in details)  # fmt: skip
        if not (detail["type"] == "too_short" and inner):
            yield detail


class Places:
    """Finds the lines of keys in a YAML file, for messages about mistakes that the file's model does not find."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader) or yaml.MappingNode("", [])

    def __call__(self, *keys: Key) -> str:
        """Return ``file:line: dotted.key`` of the key to which the path ``keys`` leads.

        If the file lacks the key, the line is that of the nearest key above it. Without ``keys``, the result is
        ``file:line``.
        """
        line, dotted = _position(self._root, keys)
        return f"{self._path}:{line}: {dotted}" if dotted else f"{self._path}:{line}"

    def of_line(self, line: str) -> str:
        """Return ``file:line: dotted.key: message`` for the problem ``line``, which is ``dotted.key: message``.

        If the file lacks the key, the line number is that of the nearest key above it. Names in a key may contain dots.
        """
        dotted, _, message = line.partition(": ")
        node, number, rest = self._root, self._root.start_mark.line + 1 if self._root.start_mark else 1, dotted
        while rest:
            parts = rest.split(".")
            names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
            name, step = next(((name, step) for name in names if (step := _step(node, name))), ("", None))
            if step is None:
                break
            node, number, rest = step[0], step[1], rest[len(name) + 1 :]
        return f"{self._path}:{number}: {dotted}: {message}"


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Return the number of keys and values in a node, plus one for the node; aliases count as if written out.

    ``known``: the results for nodes that were counted before, by the ``id()`` of the node; this function adds to them.
    """
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        inner = (part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,)))
        known[id(node)] = 1 + sum(_values(part, known) for part in inner)
    return known[id(node)]


def _twice(node: yaml.Node, at: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Yield dotted name and line of each key that a mapping has twice; YAML would silently keep the last value."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                yield ".".join((*at, name)), key.start_mark.line + 1
            seen.add(name)
            yield from _twice(value, (*at, name))
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _twice(item, (*at, _item_name(item) or str(number)))


def _no_values(node: yaml.Node, at: tuple[str, ...]) -> Iterator[str]:
    """Yield ``line: dotted.key: message`` for each value that looks like a date or a number but is none."""
    if isinstance(node, yaml.ScalarNode):
        try:
            yaml.SafeLoader("").construct_object(node)
        except ValueError as error:
            yield f"{node.start_mark.line + 1}: {'.'.join(at)}: {node.value!r} is no such value: {error}"
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _no_values(value, (*at, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _no_values(item, (*at, _item_name(item) or str(number)))


def _line(path: Path, root: yaml.Node, model: type[BaseModel], detail: ErrorDetails) -> str:
    """Return one problem as ``file:line: dotted.key: message``."""
    loc: list[Key] = list(detail["loc"])
    message = detail["msg"]
    if detail["type"] == "value_error":
        message = message.removeprefix("Value error, ")
        # A check of a whole model names the key in its message: "sizes.gpu-1.qos: ...".
        named = re.match(r"([a-z_]+(?:\.[\w-]+)*): (.*)", message, re.DOTALL)
        if named is not None:
            loc += named[1].split(".")
            message = named[2]
    elif detail["type"] == "missing":
        message = "is missing"
    elif detail["type"] == "extra_forbidden":
        fields = _fields(model, loc[:-1])
        near = difflib.get_close_matches(str(loc[-1]), fields, 1)
        message = f"unknown key; allowed: {', '.join(fields)}" if fields else "unknown key"
        message += f"; did you mean {near[0]}?" if near else ""
    elif detail["type"] == "too_short":
        message = f"needs at least {detail['ctx']['min_length']} of them"
    elif detail["type"] == "timezone_aware":
        message = f"{detail['input']} needs a time and its zone: 2026-12-31T23:59:00Z"
    elif detail["type"] == "string_pattern_mismatch":
        pattern = detail.get("ctx", {}).get("pattern", "")
        message = f"{detail['input']!r} is not {_PATTERNS.get(pattern, f'of the form {pattern}')}"
    elif not isinstance(detail["input"], dict | list):
        message = f"{detail['input']!r}: {message[:1].lower()}{message[1:]}"
    line, dotted = _position(root, loc)
    return f"{path}:{line}: {dotted}: {message}" if dotted else f"{path}:{line}: {message}"


def _position(root: yaml.Node, loc: Sequence[Key]) -> tuple[int, str]:
    """Return the line (from 1) and the dotted name of a key; an item of a list is named by its id or name.

    If the file lacks the key, the line is that of the nearest key above it; the name is the whole key's in any case.
    """
    node, line, names = root, root.start_mark.line + 1, []
    lost = False
    for key in loc:
        step = None if lost else _step(node, key)
        if step is None:
            # The file has nothing below this: a missing key, or one of pydantic's own steps ("[key]").
            lost = True
            if not (isinstance(key, str) and key.startswith("[")):
                names.append(str(key))
            continue
        node, line, name = step
        names.append(name)
    return line, ".".join(names)


def _step(node: yaml.Node, key: Key) -> tuple[yaml.Node, int, str] | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == str(key):
                return value, name.start_mark.line + 1, str(key)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            if key in (number, _item_name(item)):
                return item, item.start_mark.line + 1, _item_name(item) or str(number)
    return None


def _item_name(node: yaml.Node) -> str | None:
    if isinstance(node, yaml.MappingNode):
        for wanted in ("id", "name"):
            for key, value in node.value:
                if key.value == wanted and isinstance(value, yaml.ScalarNode):
                    return str(value.value)
    return None


def _fields(model: type[BaseModel], loc: Sequence[Key]) -> list[str]:
    """Return the sorted names of the fields of the models to which the path ``loc`` leads from ``model``.

    A step of ``loc`` that leads to no other model, such as a number or a mapping's own key, is skipped.
    """
    here: list[type[BaseModel]] = [model]
    for key in loc:
        if isinstance(key, int):
            continue
        steps = [found for m in here if key in m.model_fields for found in _models(m.model_fields[key].annotation)]
        # A mapping's own keys (factories.lumi-aif) are no fields: stay with the value's model.
        here = steps or here
    return sorted({name for m in here for name in m.model_fields})


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models in an annotation such as ``tuple[Partition, ...]``, ``Mail | None``, ``dict[Slug, Access]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = get_origin(annotation)
    if origin in (tuple, list, dict, Union, types.UnionType, Annotated):
        return [found for part in get_args(annotation) for found in _models(part)]
    return []
