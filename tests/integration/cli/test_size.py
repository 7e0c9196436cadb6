"""`longhaul size --from-cluster`: assumptions from the jobs of a real ledger."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.integration.ledger import given
from typer.testing import CliRunner

from longhaul.ledger import queues
from longhaul.ledger.connection import connect
from longhaul.states import Ending
from longhaul_cli.app import app

REST = ("--set", "request_rate_per_second=10", "--set", "task_cpu=0.5", "--set", "task_memory_gib=0.5")


@pytest.fixture
def in_ledger(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LONGHAUL_DATABASE_URL", database_url)
    return database_url


async def run_jobs(database_url: str, count: int) -> None:
    async with await connect(database_url, application_name="test") as connection:
        await queues.declare(connection, [given.QUEUE])
        for _ in range(count):
            await given.finished(connection, Ending.SUCCEEDED)


def test_it_measures_what_the_ledger_recorded(in_ledger: str) -> None:
    asyncio.run(run_jobs(in_ledger, 6))
    result = CliRunner().invoke(app, ["size", "--from-cluster", *REST, "--json"])
    assert result.exit_code == 0, result.output
    assert "measured from 6 jobs" in result.stderr
    assumptions = json.loads(result.stdout)["assumptions"]
    assert assumptions["jobs_per_second"] == pytest.approx(6 / 300)
    assert 0 < assumptions["task_seconds"] < 10


def test_an_empty_ledger_measures_nothing(in_ledger: str) -> None:
    result = CliRunner().invoke(app, ["size", "--from-cluster", *REST])
    assert result.exit_code == 2
    assert "No job of this time has run" in result.stderr
