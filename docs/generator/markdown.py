"""Pieces of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; line ends and bars inside cells are made harmless."""
    lines = [" | ".join(head), "|".join("---" for _ in head), *(" | ".join(map(_cell, row)) for row in rows)]
    return "\n".join(f"| {line} |" if number != 1 else f"|{line}|" for number, line in enumerate(lines))


def code(value: object) -> str:
    return f"`{value}`"


def codes(values: Iterable[object]) -> str:
    """Several, with commas in between."""
    return ", ".join(map(code, values))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
