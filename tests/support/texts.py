"""The output of `bin/messages` other than the files of translations: each language's share, and docs/reasons.md.

A language's share says how many texts are translated.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from factorylink.explain import explain

CHECKOUT = Path(__file__).parents[2]
_WHOSE = {"you": "you", "site": "the factory", "operator": "the operators", "wait": "nobody: just wait"}
_TABLE = re.compile(r"(?<=<!-- reasons -->\n).*(?=<!-- end -->)", re.DOTALL)


def extracted(locale: Path) -> Catalog:
    """Extract all texts of the present code into ``locale``, a copy of the locale folder; return these texts."""
    subprocess.run([CHECKOUT / "bin" / "messages", "--into", locale], check=True, stdout=subprocess.DEVNULL)
    with (locale / "factorygate.pot").open("rb") as file:
        return read_po(file)


def shares(locale: Path) -> Iterator[str]:
    """Yield a line for each language: how many texts are translated, and how many translations are outdated."""
    for path in sorted(locale.glob("*/LC_MESSAGES/*.po")):
        with path.open("rb") as file:
            texts = [one for one in read_po(file, locale=path.parts[-3]) if one.id]
        fuzzy = sum(one.fuzzy for one in texts)
        done = sum(not one.fuzzy and all([one.string] if isinstance(one.string, str) else one.string) for one in texts)
        share = 100 * done // max(1, len(texts))
        yield f"{path.parts[-3]}: {share} % translated ({done} of {len(texts)}; {fuzzy} outdated, shown in English)"


def reasons() -> str:
    """Return the tables of all explanations in ``factorylink.explain`` for docs/reasons.md."""
    lines: list[str] = []
    for title, answers in explain.everything().items():
        lines += [f"## {title}", "", "| code | what it means | who acts | what to do |", "|---|---|---|---|"]
        for answer in answers:
            lines.append(f"| `{answer.code}` | {answer.what} | {_WHOSE[answer.move.whose]} | {answer.move.do} |")
        lines.append("")
    return "\n".join(lines)


def shown(page: str) -> str:
    """Return the tables between the marks of a page; "" if the page has none."""
    found = _TABLE.search(page)
    return "" if found is None else found[0]


def with_reasons(page: str) -> str:
    """Return the page with the present tables."""
    return _TABLE.sub(lambda _: reasons(), page)


def main(locale: str, *pages: str) -> None:
    """Print each language's share of translations in the folder ``locale``, and write the reasons into the pages."""
    print(*shares(Path(locale)), sep="\n")
    for page in map(Path, pages):
        page.write_text(with_reasons(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
