"""The table of metrics in docs/observability.md; ``python -m tests.support.metrics_table`` writes it from the code."""

from __future__ import annotations

import re
from pathlib import Path

from factorylink.util import metrics

PAGE = Path(__file__).parents[2] / "docs" / "observability.md"
_TABLE = re.compile(r"(?<=<!-- metrics -->\n).*(?=<!-- end of metrics -->)", re.DOTALL)


def table() -> str:
    """Return a row for each of the link's own metrics, sorted by name."""
    rows = {name: ("gauge", gauge.labels, gauge.help) for name, gauge in metrics.GAUGES.items()}
    for each in vars(metrics).values():
        if isinstance(each, metrics.Counter | metrics.Histogram):
            family = next(iter(each.describe()))
            name = f"{family.name}_total" if family.type == "counter" else family.name
            rows[name] = (family.type, each._labelnames, family.documentation)
    lines = ["| metric | type | labels | tells |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {tells} |"
        for name, (kind, labels, tells) in sorted(rows.items())
    ]
    return "\n".join(lines) + "\n"


def shown(page: str) -> str:
    """Return the table between the marks of a page; "" if the page has none."""
    found = _TABLE.search(page)
    return "" if found is None else found[0]


def main() -> None:
    """Write the table into the page."""
    PAGE.write_text(_TABLE.sub(lambda _: table(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
