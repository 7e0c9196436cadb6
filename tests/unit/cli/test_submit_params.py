"""Params from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from longhaul_cli.submit import _params


def test_values_are_json_or_else_text() -> None:
    pairs = ["pages=3", "draft=true", "name=annual report", "tags=[1, 2]", "url=http://x/?a=b", "empty="]
    assert _params(None, pairs) == {
        "pages": 3,
        "draft": True,
        "name": "annual report",
        "tags": [1, 2],
        "url": "http://x/?a=b",
        "empty": "",
    }


def test_pairs_win_over_the_object_and_files_are_read(tmp_path: Path) -> None:
    file = tmp_path / "params.json"
    file.write_text('{"pages": 1, "draft": true}')
    assert _params(f"@{file}", ["pages=2"]) == {"pages": 2, "draft": True}


@pytest.mark.parametrize(
    ("text", "pairs", "sentence"),
    [
        ("{", [], "--params is no JSON"),
        ("[1]", [], "--params must be a JSON object"),
        ("@/no/such/file", [], "/no/such/file can't be read"),
        (None, ["pages"], "write KEY=VALUE"),
        (None, ["=3"], "write KEY=VALUE"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(text: str | None, pairs: list[str], sentence: str) -> None:
    with pytest.raises(typer.BadParameter, match=sentence):
        _params(text, pairs)
