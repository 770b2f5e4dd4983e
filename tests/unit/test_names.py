"""The code uses names that are usual elsewhere: words that only this project used do not return as identifiers.

People who know JupyterHub and Dask understand ``record``, ``route`` and ``response``, and need not learn the earlier
meanings of ``row``, ``way`` and ``told``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

CHECKOUT = Path(__file__).parents[2]
SOURCES = ("spawners", "extensions/factorygate", "extensions/workshops", "testbed")

# Words that are no name of anything, in any folder.
NOWHERE = {
    "Board", "Herd", "Flock", "Hands", "Shelf", "Heads", "Place", "Live", "Row", "Claim", "Standing", "Together",
    "Flights", "Turns", "Lender", "Right", "Rights", "Way", "Wire", "Line", "Gate", "Finder", "Ender", "Handover",
    "BringBack", "Leaving", "Keeper", "Broker", "Roster", "Lasting", "Outside", "Ask", "Asker", "Watch", "Watcher",
    "board", "herd", "flock", "hands", "shelf", "heads", "lender", "finder", "ender", "handover", "asker",
    "broker", "roster", "heirs", "lone", "lasting",
}  # fmt: skip
# Words that are no name of anything in the folders of ``CLEAN``; the aim is that ``CLEAN`` has all of ``SOURCES``.
NOT_WHERE_CLEAN = {"Told", "told", "wish", "spoke", "heard", "wire", "way", "outside", "showing"}
CLEAN = SOURCES
# Words that are no name of a module or package. Most are fine for a variable: a line of text, a row of a table.
NO_MODULE = {word.lower() for word in NOWHERE} | {
    "heap", "moments", "modes", "windows", "guard", "use", "showing", "told", "wish", "spoke", "heard",
}  # fmt: skip
# In a clean folder, a parameter, variable or field of this type must not have the type's own old name.
OLD_NAMES = {
    "AccessStatus": {"standing"},
    "ByteStream": {"wire"},
    "ChargeReservation": {"claim"},
    "Command": {"ask"},
    "CommandSlots": {"gate"},
    "DoorConnection": {"line"},
    "FactoryConnection": {"place"},
    "LinkRoute": {"way"},
    "LiveCluster": {"flock", "row", "live"},
    "LiveSession": {"live", "row"},
    "Route": {"way"},
    "SessionHandle": {"claim"},
}
# Names that stay, with the reason: by word, the files in which it may be one.
STAYS = {
    # a column of the ledger and a key of the link's API: the desired state of a session, run or stop
    "wish": r"spawners/",
    "told": r"spawners/factorylink/(ledger|projects)/",  # a column of the ledger: the rules that the hub sent
}
FIELDS_ONLY = {"wish"}  # allowed for attributes and fields, not for parameters and variables


class Identifier(NamedTuple):
    name: str
    kind: str  # definition, variable or attribute
    line: int
    type: str = ""  # the annotation


def identifiers(tree: ast.AST) -> Iterator[Identifier]:
    """Yield the names of classes, functions, parameters, variables, fields, attributes and imports, without leading
    underscores."""
    fields = {id(node.target) for made in ast.walk(tree) if isinstance(made, ast.ClassDef) for node in made.body
              if isinstance(node, ast.AnnAssign)}  # fmt: skip
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield Identifier(name.lstrip("_"), "definition", node.lineno)
            case ast.arg(arg=name, annotation=annotation):
                yield Identifier(name.lstrip("_"), "variable", node.lineno, _type(annotation))
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                kind = "attribute" if id(node.target) in fields else "variable"
                yield Identifier(name.lstrip("_"), kind, node.lineno, _type(annotation))
            case ast.AnnAssign(target=ast.Attribute(attr=name), annotation=annotation):
                yield Identifier(name.lstrip("_"), "attribute", node.lineno, _type(annotation))
            case ast.Name(id=name) if id(node) not in fields:
                yield Identifier(name.lstrip("_"), "variable", node.lineno)
            case ast.Attribute(value=value, attr=name) if f"{ast.unparse(value)}.{name}" != "fcntl.flock":
                yield Identifier(name.lstrip("_"), "attribute", node.lineno)
            case ast.alias(name=name, asname=asname):
                yield Identifier((asname or name).rpartition(".")[2].lstrip("_"), "variable", node.lineno)
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.ExceptHandler(name=str(name)):
                yield Identifier(name.lstrip("_"), "variable", node.lineno)
            case _:
                pass


def _type(annotation: ast.expr | None) -> str:
    """Return the annotation without ``| None``, module names and text in brackets; "" if there is none."""
    text = "" if annotation is None else ast.unparse(annotation)
    return re.sub(r"\b\w+\.|\[.*\]| \| None", "", text)


def old_names(path: str, tree: ast.AST) -> list[str]:
    """Return a line for each forbidden name in a file."""
    clean = path.startswith(tuple(f"{folder}/" for folder in CLEAN))
    wrong = []
    for found in identifiers(tree):
        forbidden = found.name in NOWHERE or (clean and found.name in NOT_WHERE_CLEAN)
        stays = re.match(STAYS.get(found.name, "$"), path) is not None
        if stays and found.name in FIELDS_ONLY and found.kind != "attribute":
            stays = False
        of_type = clean and found.name in OLD_NAMES.get(found.type, ())
        if (forbidden and not stays) or of_type:
            wrong.append(f"{path}:{found.line}: {found.name} {found.type}".rstrip())
    return wrong


@pytest.mark.parametrize("folder", SOURCES)
def test_no_identifier_is_a_word_that_only_we_knew(folder: str) -> None:
    wrong = []
    for path in sorted((CHECKOUT / folder).rglob("*.py")):
        wrong += old_names(str(path.relative_to(CHECKOUT)), ast.parse(path.read_text(encoding="utf-8")))
    assert wrong == []


@pytest.mark.parametrize("folder", SOURCES)
def test_no_module_has_such_a_name(folder: str) -> None:
    names = {path: path.stem for path in (CHECKOUT / folder).rglob("*") if path.suffix == ".py" or path.is_dir()}
    assert [str(path.relative_to(CHECKOUT)) for path, name in names.items() if name in NO_MODULE] == []


def test_clean_folders_are_there() -> None:
    assert [folder for folder in CLEAN if not (CHECKOUT / folder).is_dir()] == []


@pytest.mark.parametrize(
    "code",
    [
        "class Herd: ...",
        "def look(self, flock): ...",
        "self._board.x",
        "from factorylink.board import Board",
        "told = answer()",
        "async def _heard(self): ...",
        "def reach(place: FactoryConnection | None): ...",
        "def run(ask: Command[T]): ...",
        "class Door:\n    way: carriers.Route",
        "def judge(wish): ...",
        "match x:\n    case [told, *_]: ...",
    ],
)
def test_a_forbidden_name_is_found_in_a_clean_folder(code: str) -> None:
    assert len(old_names("spawners/factorylink/doors/door.py", ast.parse(code))) >= 1


@pytest.mark.parametrize(
    "code",
    [
        "import fcntl\nfcntl.flock(1, 2)",
        "for line in text.splitlines(): ...",
        "def show(row: RowMapping): ...",
        "session.wish == 'stop'",
        "'told', 'wire'",
    ],
)
def test_other_names_are_left_alone(code: str) -> None:
    assert old_names("spawners/factoryspawner/spawner.py", ast.parse(code)) == []
