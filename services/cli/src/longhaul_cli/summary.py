"""What `longhaul up` shows at the end of its job: the index's figures, the best matches, and where to look."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue
from rich.console import Console
from rich.text import Text

from longhaul_cli.output import clean, table

_SNIPPET_CHARACTERS = 90
_DEFAULT_URL = "http://127.0.0.1:8080"


def print_index(console: Console, result: Mapping[str, JsonValue]) -> None:
    """The result of `documents.index`: its figures, and the matches best first."""
    size_mib = _number(result.get("bytes")) / 2**20
    figures = (
        f"{_number(result.get('files')):,.0f} files, {size_mib:,.1f} MiB of text, "
        f"{_number(result.get('chunks')):,.0f} chunks, {_number(result.get('terms')):,.0f} terms"
    )
    console.print()
    console.print(Text.assemble(("Indexed ", "dim"), figures))
    console.print(Text.assemble(("Query   ", "dim"), clean(result.get("query", ""))))
    matches = result.get("matches")
    rows = [
        (
            f"{_number(match.get('score')):.2f}",
            f"{match.get('path')}:{match.get('first_line')}",
            " ".join(str(match.get("snippet", "")).split())[:_SNIPPET_CHARACTERS],
        )
        for match in (matches if isinstance(matches, list) else [])
        if isinstance(match, dict)
    ]
    console.print(table(("score", "where", "text"), rows) if rows else Text("No match.", "dim"))


def print_places(console: Console, api_url: str, *, home: Path, environment_file: Path) -> None:
    """Where to look now."""
    prefix = "" if api_url == _DEFAULT_URL else f"LONGHAUL_URL={api_url} "
    places = {
        "The page": f"{api_url}/",
        "The API": f"{api_url}/openapi.json",
        "Jobs": f"{prefix}longhaul jobs",
        "Submit": f"{prefix}longhaul submit demo.sleep -p seconds=20 --follow",
        "Administer": f". {environment_file}   then: longhaul doctor, keys, purge",
        "Logs": f"{home / 'logs'}",
        "Data": f"{home}",
    }
    console.print()
    for name, place in places.items():
        console.print(Text.assemble((f"{name:11}", "dim"), place), soft_wrap=True)
    console.print()
    console.print(Text("Serving until Ctrl-C.", "bold"))


def _number(value: JsonValue) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
