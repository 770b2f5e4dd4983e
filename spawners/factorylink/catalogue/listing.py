"""Makes texts about the catalogue: an entry with the source of each value, or all factories and antennas in tables."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from factorycommon.models import Accelerator, Antennas, Environment, Factory, NetworkEntry, Planned, Sourced
from factorylink.catalogue.catalogue import Catalogue
from factorylink.catalogue.choices import gpu_label

_HEADING = """\
# The factories

The factories and antennas that the catalogue knows, with what was found about each. Most values
come from public pages and from users; this gateway was not tried on any of the machines. No factory
can be used yet. To be used, a factory needs the state `live` and the agreement of its operator
([operators](operators.md#the-catalogue)). The factories with a machine are `template`, which means
that nobody has confirmed their values.

The columns *how sure* say where a value comes from:

- `operator`: from a page of the site, of EuroHPC or of another public body;
- `user-report`: from users' notes and scripts, other projects or the press;
- `known`: general knowledge without a source;
- `ours`: this gateway's own choice;
- `derived`: computed from the share of a node.

[Where it comes from](#where-it-comes-from) names the sources; `factorygate catalogue show ID` has
them value by value.

`factorygate catalogue table` prints this page up to its last section, from `hub_config/factories`
and `hub_config/antennas.yaml`; a test compares the two. If root runs `bin/test tests/catalogue`, it
prints the rows of the last table.
"""

_PATHS = (
    "Each item names how sure some values are and their sources, and then the paths of these values in the entry. In "
    "a path, `*` stands for any one part between dots. If several paths match a value, the most exact path counts. "
    "`sketches` are sizes that lack values; `site.at` is the position on the map (that of the city); `coming` is the "
    "factory's next machine, or its first one if it has none yet; `door` is the probable way to reach a job; `policy` "
    "lists the kinds of automation that the site allows or forbids. *Not found* also names values on which sources "
    "contradict each other. Notes are for people who use the factory. Remarks are for whoever edits an entry or "
    "installs an environment. No page of the gateway shows notes or remarks."
)


def show(entry: NetworkEntry) -> str:
    """Return a text about an entry of the catalogue: one line for each value that needs an origin, with the origin.

    After these lines come the node sizes that cannot be offered, with what they lack, and the paths of the values that
    were not found.
    """
    values = entry.model_dump(mode="json", exclude_unset=True)
    lines = [f"{entry.id}: {entry.name}", ""]
    rows = [(path, _at(values, path.split(".")), entry.origin(path)) for path in entry.values()]
    width = max((len(path) for path, _, _ in rows), default=0)
    lines += [f"{path:<{width}}  {_text(value)}  [{origin or 'not said'}]" for path, value, origin in rows]
    if isinstance(entry, Factory):
        lines += ["", *(f"{sketch.id} cannot be offered: {_lacks(sketch.lacks)}" for sketch in entry.sketches)]
    if entry.not_found:
        lines += ["", f"Not found: {', '.join(entry.not_found)}."]
    return "\n".join(lines) + "\n"


def table(federation: Catalogue) -> str:
    """Return the text of ``docs/factories.md``: all factories and antennas."""
    parts = [_HEADING, *_machines(federation), *_sizes(federation), *_environments(federation), *_coming(federation)]
    if federation.antennas is not None:
        parts += _antennas(federation.antennas)
    parts += _origins(federation)
    return "\n".join(_wrapped(line) for line in "\n".join(parts).split("\n")) + "\n"


def _wrapped(line: str) -> str:
    """Return a line of Markdown wrapped at 100 columns; headings and rows of tables are not wrapped."""
    if line.startswith(("#", "|")):
        return line
    indent = "  " if line.startswith("- ") else ""
    return textwrap.fill(line, 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _machines(federation: Catalogue) -> Iterator[str]:
    yield f"## With a machine: {len(federation.factories)}\n"
    yield (
        "The last column names the kinds of automation that the site's rules forbid or leave unclear, so that they "
        "have to be agreed on with the site: *unattended submit*, jobs that are submitted without a person's action; "
        "*persistent connection*, a connection that stays open between two actions of a person; *replacement*, a new "
        "Dask worker in place of one that ended. *None found*: no such rule was found.\n"
    )
    rows = [
        (
            f"`{factory.id}`",
            factory.name,
            f"{factory.site.machine}, {factory.site.city} ({factory.site.country})",
            f"{factory.state}, {factory.scheduler}",
            _gpus(factory.accelerator),
            factory.architecture,
            factory.outbound,
            _permission(factory),
        )
        for factory in federation.factories.values()
    ]
    headings = (
        "id",
        "name",
        "machine",
        "state, scheduler",
        "GPUs of a node",
        "CPU",
        "nodes that reach the internet",
        "automation to agree on with the site",
    )
    yield from _markdown(headings, rows)


def _sizes(federation: Catalogue) -> Iterator[str]:
    yield "\n## Node sizes\n"
    yield "A size that *lacks* values cannot be started.\n"
    rows: list[Sequence[str]] = []
    for factory in federation.factories.values():
        for size in factory.sizes:
            queue = size.partition + (f", {size.qos}" if size.qos else "")
            share = f"{size.cores} cores, {size.memory_gb:g} GB"
            billed = size.billed_as or "not known"
            hours, sure = f"{size.max_hours:g} h", _sure(factory, f"sizes.{size.id}")
            rows.append((f"`{factory.id}`", size.id, gpu_label(factory, size), share, queue, hours, billed, sure))
        rows += [
            (
                *(f"`{factory.id}`", sketch.id, f"{sketch.gpus} GPU", f"lacks {_lacks(sketch.lacks)}", "", "", ""),
                _sure(factory, f"sketches.{sketch.id}"),
            )
            for sketch in factory.sketches
        ]
    headings = (
        "factory",
        "size",
        "shown to people as",
        "share of a node",
        "partition, QOS",
        "longest job",
        "billed",
        "how sure",
    )
    yield from _markdown(headings, rows)


def _environments(federation: Catalogue) -> Iterator[str]:
    yield "\n## Environments\n"
    how = "operators.md#an-environment-on-each-factory"
    yield (
        "This is what the sites have, as far as it was found. An environment that is a `template` lacks a Python with "
        "`factorygate[notebook]`. Somebody has to install this Python at the site before a session can start in the "
        f"environment ([how]({how})).\n"
    )
    rows = [
        (
            f"`{factory.id}`",
            environment.id,
            environment.title,
            f"{environment.state}, {environment.kind}",
            "<br>".join(f"`{line}`" for line in _lines(environment)) or "not found",
            ", ".join(word for word in (*environment.frameworks, environment.gpu_stack) if word),
            _sure(factory, f"environments.{environment.id}"),
        )
        for factory in federation.factories.values()
        for environment in factory.environments
    ]
    yield from _markdown(("factory", "id", "title", "state, kind", "what is there", "brings", "how sure"), rows)


def _lines(environment: Environment) -> Iterator[str]:
    if environment.image is not None:
        yield environment.image
    if environment.modules:
        yield f"module load {' '.join(environment.modules)}"
    yield from environment.setup


def _origins(federation: Catalogue) -> Iterator[str]:
    yield "\n## Where it comes from\n"
    yield _PATHS
    sourced: list[tuple[str, Sourced]] = [*federation.entries.items()]
    if federation.antennas is not None:
        sourced.append(("antennas", federation.antennas))
    for name, entry in sourced:
        yield f"\n### `{name}`\n"
        for said in entry.said:
            links = ", ".join(f"[{source}]({entry.sources[source]})" for source in said.by)
            note = f" ({said.note})" if said.note else ""
            yield f"- {said.sure}{f', {links}' if links else ''}{note}: {', '.join(f'`{of}`' for of in said.of)}"
        yield f"- Not found: {', '.join(entry.not_found) or 'nothing that was looked for'}."
        yield from (f"- Note: {note}" for note in (entry.notes if isinstance(entry, NetworkEntry) else ()))
        yield from (f"- Remark: {remark}" for remark in _remarks(entry))


def _remarks(entry: Sourced) -> Iterator[str]:
    if isinstance(entry, NetworkEntry):
        yield from entry.remarks
    if isinstance(entry, Factory):
        yield from (f"`{made.id}`: {made.remark}" for made in entry.environments if made.remark)
    if isinstance(entry, Antennas):
        yield from (f"`{antenna.id}`: {antenna.remark}" for antenna in entry.antennas if antenna.remark)


def _sure(entry: Sourced, above: str) -> str:
    """Return how certain the values below the path ``above`` are: each level of certainty once, as one text."""
    origins = [entry.origin(path) for path in entry.values() if path.startswith(f"{above}.")]
    words: list[str] = [origin.sure for origin in origins if origin is not None]
    words += ["derived"] if any(origin is not None and origin.derived for origin in origins) else []
    return ", ".join(dict.fromkeys(words))


def _coming(federation: Catalogue) -> Iterator[str]:
    yield f"\n## Without a machine yet: {len(federation.planned)}\n"
    rows = [(f"`{entry.id}`", entry.name, f"{entry.site.city} ({entry.site.country})", _next(entry))
            for entry in federation.planned.values()]  # fmt: skip
    yield from _markdown(("id", "name", "place", "what is known"), rows)


def _antennas(antennas: Antennas) -> Iterator[str]:
    yield f"\n## Antennas: {len(antennas.antennas)}\n"
    yield "An antenna has no machine of its own: it leads its people to the factories to which it is linked.\n"
    rows = []
    for antenna in antennas.antennas:
        origin = antennas.origin(f"antennas.{antenna.id}.factories")
        linked = ", ".join(f"`{name}`" for name in antenna.factories)
        rows.append(
            (antenna.name, antenna.country, antenna.host or "not found", linked, str(origin.sure if origin else ""))
        )
    yield from _markdown(("name", "country", "host", "factories", "how sure the links are"), rows)


def _next(entry: Planned) -> str:
    coming = entry.coming
    if coming is None:
        return "nothing"
    expected = f"expected: {coming.expected}" if coming.expected else ""
    return "; ".join(word for word in (coming.machine, coming.status, coming.accelerator, expected) if word)


def _gpus(accelerator: Accelerator) -> str:
    unit = "" if accelerator.unit == "GPU" else f" {accelerator.unit}"
    return f"{accelerator.per_node} x {accelerator.vendor} {accelerator.model}{unit}"


def _permission(factory: Factory) -> str:
    return ", ".join(act.replace("_", " ") for act in factory.policy.open_questions()) or "none found"


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{'---|' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _lacks(names: Sequence[str]) -> str:
    return ", ".join(name.replace("_gb", "").replace("_", " ") for name in names)


def _text(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _at(values: Any, steps: Sequence[str]) -> Any:
    """Return the value at the path ``steps``; an item of a list is selected by its id, name or number."""
    for step in steps:
        if isinstance(values, list):
            named = {str(item.get("id") or item.get("name")): item for item in values if isinstance(item, dict)}
            values = named[step] if step in named else values[int(step)]
        else:
            values = values[step]
    return values
