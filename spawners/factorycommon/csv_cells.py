"""Changes texts for the cells of CSV files so that no spreadsheet takes them for formulas."""

from __future__ import annotations

# the full-width characters also start formulas in some languages
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def cell(text: str) -> str:
    """Return ``text`` changed so that no spreadsheet takes it for a formula, since people choose their own names."""
    return f"'{text}" if text.startswith(_FORMULA) else text
