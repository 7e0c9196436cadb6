"""What commands print, and the codes they end with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner

from longhaul import errors
from longhaul.client import ApiUnreachable
from longhaul.contract import EventView
from longhaul.states import TERMINAL, State
from longhaul_cli import exits
from longhaul_cli.app import app
from longhaul_cli.follow import describe
from longhaul_cli.output import clean

runner = CliRunner()


def event(type: str, **data: Any) -> EventView:
    return EventView(job_id=UUID(int=1), id=7, type=type, at=datetime(2026, 1, 1, tzinfo=UTC), attempt=2, data=data)


def test_a_tasks_words_give_the_terminal_no_orders() -> None:
    assert clean("\x1b[2Jgone\r\x07\n\tstays\x9b") == "�[2Jgone��\n\tstays�"
    assert "\x1b" not in describe(event("log", level="info", message="\x1b]0;title\x07", fields={"a": "\x1b[1m"})).plain


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (event("started", worker="w-1"), "attempt 2 started on w-1"),
        (
            event("retrying", error={"message": "no route"}, retry_after_seconds=2.5),
            "attempt 2 ended: no route; trying again in 2.5 s",
        ),
        (event("interrupted", ending="handed_over"), "attempt 2 was interrupted: handed_over; another goes on"),
        (event("log", level="info", message="read", fields={"files": 3}), "read  files=3"),
        (event("dead", error={"message": "never works"}), "dead: never works"),
        (event("checkpoint", size_bytes=3), ""),
        (event("of a newer version"), "of a newer version"),
    ],
)
def test_events_read_as_lines(shown: EventView, line: str) -> None:
    assert describe(shown).plain == line


def test_exit_codes_tell_outcomes_apart() -> None:
    codes = [exits.of_state(state) for state in (State.SUCCEEDED, State.FAILED, State.DEAD, State.CANCELLED)]
    assert codes == [0, 1, 3, 4]
    assert {exits.of_state(state) for state in State if state not in TERMINAL} == {5}
    assert exits.of_error(errors.InvalidParams()) == exits.of_error(errors.ConfigurationError()) == 2
    assert exits.of_error(ApiUnreachable()) == exits.of_error(errors.UnknownJob()) == 5


def test_help_tells_the_exit_codes_and_every_command() -> None:
    result = runner.invoke(app, ["--help"])
    assert result.exit_code == 0
    commands = "up submit follow jobs show cancel replay tasks queues workers dead-letters keys migrate purge doctor"
    assert all(f" {command} " in result.output for command in commands.split())
    assert "3 the job" in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--url", "http://127.0.0.1:9", "cancel", "1"], 5, "http://127.0.0.1:9 does not answer"),
        (["--url", "ftp://x", "jobs"], 2, "LONGHAUL_URL: must look like https://"),
        (["jobs", "--since", "soon"], 2, "is no time"),
        (["submit", "demo.echo", "-p", "x"], 2, "write KEY=VALUE"),
        (["dead-letters", "replay"], 2, "Say which"),
        (["queues", "limit", "default", "0"], 2, "is no limit"),
        (["keys", "list"], 2, "LONGHAUL_DATABASE_URL is not set"),
        (["purge", "--older-than", "7"], 2, "is no duration"),
    ],
)
def test_errors_are_a_sentence_on_stderr(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, sentence: str
) -> None:
    for name in ("LONGHAUL_URL", "LONGHAUL_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    result = runner.invoke(app, arguments)
    assert result.exit_code == code
    assert sentence in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
