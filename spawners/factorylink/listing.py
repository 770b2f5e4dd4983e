"""The catalogue in words: one entry with where each value comes from, and all factories and antennas in a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from factorylink.choices import gpu_label
from factorylink.federation import Federation
from factorylink.models import Antennas, Entry, Factory, Planned

_HEADING = """\
# The factories

Written by `factorygate catalogue table` from `hub_config/factories` and `hub_config/antennas.yaml`; a test keeps it
current; the last part is what `bin/test tests/catalogue` prints. Nothing here was tried on the real machine, and no
factory is `live`: that takes its operator's agreement ([operators](operators.md#the-catalogue)). What
`factorygate catalogue show ID` prints says of each value how sure it is and where it comes from.
"""


def show(entry: Entry) -> str:
    """Each value of an entry on a line, with its origin; then what was not found."""
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


def table(federation: Federation) -> str:
    """All factories and antennas, as ``docs/factories.md``."""
    parts = [_HEADING, *_machines(federation), *_sizes(federation), *_coming(federation)]
    if federation.antennas is not None:
        parts += _antennas(federation.antennas)
    return "\n".join(parts) + "\n"


def _machines(federation: Federation) -> Iterator[str]:
    yield f"## With a machine: {len(federation.factories)}\n"
    rows = [
        (
            f"`{factory.id}`",
            factory.name,
            f"{factory.site.machine}, {factory.site.city} ({factory.site.country})",
            f"{factory.state}, {factory.scheduler}",
            f"{factory.accelerator.per_node} x {factory.accelerator.vendor} {factory.accelerator.model}",
            factory.architecture,
            factory.outbound,
            _permission(factory),
        )
        for factory in federation.factories.values()
    ]
    heads = ("id", "name", "machine", "state, scheduler", "GPUs of a node", "CPU", "way out", "rules to settle")
    yield from _markdown(heads, rows)


def _sizes(federation: Federation) -> Iterator[str]:
    yield "\n## Node sizes\n"
    yield "A size whose values are not all known is named with what it lacks, and cannot be started.\n"
    rows: list[Sequence[str]] = []
    for factory in federation.factories.values():
        for size in factory.sizes:
            queue = size.partition + (f", {size.qos}" if size.qos else "")
            share = f"{size.cores} cores, {size.memory_gb:g} GB"
            billed = size.billed_as or "not known"
            rows.append(
                (f"`{factory.id}`", size.id, gpu_label(factory, size), share, queue, f"{size.max_hours:g} h", billed)
            )
        rows += [
            (f"`{factory.id}`", sketch.id, f"{sketch.gpus} GPU", f"lacks {_lacks(sketch.lacks)}", "", "", "")
            for sketch in factory.sketches
        ]
    yield from _markdown(("factory", "size", "GPUs", "share of a node", "partition, QOS", "at most", "billed"), rows)


def _coming(federation: Federation) -> Iterator[str]:
    yield f"\n## Without a machine yet: {len(federation.planned)}\n"
    rows = [(f"`{entry.id}`", entry.name, f"{entry.site.city} ({entry.site.country})", _next(entry))
            for entry in federation.planned.values()]  # fmt: skip
    yield from _markdown(("id", "name", "place", "what is known"), rows)


def _antennas(antennas: Antennas) -> Iterator[str]:
    yield f"\n## Antennas: {len(antennas.antennas)}\n"
    yield "Communities without a machine; their people run on the factories they are linked to.\n"
    rows = []
    for antenna in antennas.antennas:
        origin = antennas.origin(f"antennas.{antenna.id}.factories")
        linked = ", ".join(f"`{name}`" for name in antenna.factories)
        rows.append(
            (antenna.name, antenna.country, antenna.host or "not found", linked, str(origin.sure if origin else ""))
        )
    yield from _markdown(("name", "country", "host", "factories", "how sure the link is"), rows)


def _next(entry: Planned) -> str:
    coming = entry.coming
    if coming is None:
        return "nothing"
    return "; ".join(word for word in (coming.machine, coming.status, coming.accelerator, coming.expected) if word)


def _permission(factory: Factory) -> str:
    return ", ".join(act.replace("_", " ") for act in factory.policy.open_questions()) or "none found"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _lacks(names: Sequence[str]) -> str:
    return ", ".join(name.replace("_gb", "").replace("_", " ") for name in names)


def _text(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _at(values: Any, steps: Sequence[str]) -> Any:
    """The value of a path: a list's items go by id, name or number."""
    for step in steps:
        if isinstance(values, list):
            named = {str(item.get("id") or item.get("name")): item for item in values if isinstance(item, dict)}
            values = named[step] if step in named else values[int(step)]
        else:
            values = values[step]
    return values
