"""`longhaul replay` of what a real ledger recorded."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.integration.ledger import given
from tests.integration.ledger.given import Claimer
from typer.testing import CliRunner, Result

from longhaul.ledger import queues
from longhaul.ledger.connection import connect
from longhaul.states import Ending
from longhaul_cli.app import app

VALUES = "worker: {pools: {default: {queues: [work], slots: 1, autoscaling: {maxReplicas: 4}}}}"
DONE = 12


async def fill(database_url: str) -> None:
    """Jobs that came five minutes apart, waited one minute and ran two; one waits yet."""
    async with await connect(database_url, application_name="test") as connection:
        await queues.declare(connection, [given.QUEUE])
        ids = await given.queued(connection, DONE, interruptible=True)
        for number, id in enumerate(ids):
            ago = (DONE - number) * 300.0
            await given.waited(connection, id, ago)
            claim = await Claimer().claim_one(connection)
            assert claim.job_id == id
            assert await given.ended(connection, claim, Ending.SUCCEEDED)
            await connection.execute(
                "UPDATE job_events SET at = now() - make_interval(secs => CASE type WHEN 'started' THEN %s ELSE %s END)"
                " WHERE job_id = %s AND epoch = 1",
                (ago - 60, ago - 180, id),
            )
        await given.queued(connection)


async def dump(database_url: str) -> list[dict[str, Any]]:
    async with await connect(database_url, application_name="test") as connection:
        cursor = await connection.execute(
            "SELECT id, state, epoch, updated_at, event_seq, xmin::text AS row_version FROM jobs ORDER BY id"
        )
        return await cursor.fetchall()


@pytest.fixture
def values(tmp_path: Path) -> Path:
    path = tmp_path / "values.yaml"
    path.write_text(VALUES, "utf-8")
    return path


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_a_ledger_is_simulated_with_other_values_and_not_touched(
    database_url: str, values: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGHAUL_DATABASE_URL", database_url)
    asyncio.run(fill(database_url))
    before = asyncio.run(dump(database_url))
    kept = tmp_path / "history.jsonl"
    live = run("replay", "--since", "2h", "--values", values, "--save", kept, "--json")
    document = json.loads(live.stdout)
    assert document["recorded"]["jobs_done"] == document["simulated"]["jobs_done"] == DONE
    assert document["recorded"]["wait_p50_seconds"] == pytest.approx(60, abs=5)
    # A pod is always there, and jobs of two minutes come five minutes apart.
    assert document["simulated"]["wait_max_seconds"] == 0
    assert "did not run to an end: 1" in live.stderr
    assert asyncio.run(dump(database_url)) == before

    again = json.loads(run("replay", "--history", kept, "--values", values, "--json").stdout)
    assert again["simulated"]["queues"] == document["simulated"]["queues"]
    assert again["recorded"] == document["recorded"]
    shown = run("replay", "--since", "2h", "--values", values).stdout
    assert "recorded" in shown
    assert "simulated" in shown


def test_a_time_without_jobs_is_said(database_url: str, values: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGHAUL_DATABASE_URL", database_url)
    assert "ran to its end" in run("replay", "--since", "1h", "--values", values, code=2).stderr


def test_without_a_ledger_it_says_which_setting_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LONGHAUL_DATABASE_URL", raising=False)
    assert "LONGHAUL_DATABASE_URL is not set" in run("replay", "--since", "1h", code=2).stderr
