"""Changes texts for the cells of CSV files so that no spreadsheet takes them for formulas."""

from __future__ import annotations

# the full-width characters also start formulas in some languages
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def cell(text: str) -> str:
    """Return ``text``, with ``'`` before it if a spreadsheet would take it for a formula.

    People choose their own names, so a name could be a formula.
    """
    return f"'{text}" if text.startswith(_FORMULA) else text
