"""`longhaul simulate`, and `longhaul replay` of a file, as people type them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from typer.testing import CliRunner, Result

from longhaul.ledger.history import Recorded
from longhaul.states import State
from longhaul_cli.app import app
from longhaul_cli.simulator.recording import write_line

WORKLOAD = """
duration: 2h
streams:
  reports:
    per_hour: 300
    bursts: [{at: 1h, count: 400}]
    run: {lognormal: {mean: 90s, cv: 1}}
    checkpoint: 20s
"""
HASTY = """
controller: {deletionCost: {enabled: false}}
worker:
  poolDefaults:
    drainSeconds: 10
    autoscaling: {scaleDown: {stabilizationWindowSeconds: 0}}
"""


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.fixture
def workload(tmp_path: Path) -> Path:
    path = tmp_path / "workload.yaml"
    path.write_text(WORKLOAD, "utf-8")
    return path


@pytest.fixture
def hasty(tmp_path: Path) -> Path:
    path = tmp_path / "hasty.yaml"
    path.write_text(HASTY, "utf-8")
    return path


@pytest.fixture
def history(tmp_path: Path) -> Path:
    path = tmp_path / "history.jsonl"
    start = datetime(2026, 3, 2, tzinfo=UTC)
    with path.open("wb") as file:
        for number in range(200):
            due_at = start + timedelta(seconds=10 * number)
            write_line(
                file,
                Recorded(
                    job_id=UUID(int=number),
                    task="t",
                    queue="default",
                    priority=0,
                    interruptible=False,
                    state=State.SUCCEEDED if number else State.QUEUED,
                    due_at=due_at,
                    started_at=due_at + timedelta(seconds=3),
                    run_seconds=45.0,
                    busy_seconds=45.0,
                    attempts=1,
                    interrupted=0,
                    checkpoints=0,
                ),
            )
    return path


def test_figures_are_printed(workload: Path) -> None:
    shown = run("simulate", workload)
    assert "wait, 95th percentile" in shown.stdout
    assert "cost of nodes" not in shown.stdout  # no price is known


def test_one_seed_prints_one_answer(workload: Path) -> None:
    first, again, other = (run("simulate", workload, "--json", "--seed", seed).stdout for seed in (5, 5, 6))
    assert first == again != other


def test_json_has_all_of_it(workload: Path, tmp_path: Path) -> None:
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("{node_hour_price: 0.5, currency: EUR}", "utf-8")
    document = json.loads(run("simulate", workload, "--cluster", cluster, "--json", "--wait-target", "1m").stdout)
    simulated = document["simulated"]
    assert document["wait_target_seconds"] == 60
    assert simulated["jobs_done"] > 900
    assert simulated["node_cost"] == pytest.approx(simulated["node_hours"] / 2)
    assert simulated["queues"]["default"]["count"] == simulated["jobs_done"]
    assert simulated["pools"]["default"]["pod_hours"] == pytest.approx(simulated["pod_hours"])
    assert simulated["samples"][0]["pools"]["default"]["desired"] == 1
    assert len(simulated["samples"]) <= 1000


def test_two_values_are_compared_in_markdown(workload: Path, hasty: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.yaml"
    plain.write_text("{}", "utf-8")
    lines = run("simulate", workload, "--values", hasty, "--against", plain).stdout.splitlines()
    assert lines[:2] == ["| figure | before | after | change |", "|---|---:|---:|---:|"]
    (interruptions,) = (line.split("|")[2:5] for line in lines if line.startswith("| interruptions |"))
    before, after, change = (cell.strip() for cell in interruptions)
    assert before == "0"
    assert int(after) > 0
    assert change == f"+{after}"


def test_a_report_is_written(workload: Path, hasty: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    shown = run("simulate", workload, "--values", hasty, "--report", report)
    assert str(report) in shown.stderr.replace("\n", "")
    assert "hasty.yaml" in report.read_text("utf-8")


def test_a_recorded_history_is_simulated_beside_its_own_waits(history: Path, hasty: Path) -> None:
    shown = run("replay", "--history", history)
    assert "Left out, as they did not run to an end: 1." in shown.stderr
    document = json.loads(run("replay", "--history", history, "--json").stdout)
    assert document["recorded"]["wait_p50_seconds"] == 3
    assert document["recorded"]["jobs_done"] == document["simulated"]["jobs_done"] == 199
    header = run("replay", "--history", history, "--against", hasty).stdout.splitlines()[0]
    assert header == "| figure | recorded | before | after | change |"


def test_with_ids_jobs_are_submitted_again() -> None:
    away = run("--url", "http://127.0.0.1:1", "replay", "0191f2a4-0000-7000-8000-000000000000", code=5)
    assert "check that the API runs there" in away.stderr


def test_what_does_not_fit_is_said_in_one_sentence(workload: Path, history: Path, tmp_path: Path) -> None:
    assert "can't be read" in run("simulate", tmp_path / "none.yaml", code=2).stderr
    assert "neither .html nor .png" in run("simulate", workload, "--report", tmp_path / "a.pdf", code=2).stderr
    assert "is no duration" in run("simulate", workload, "--wait-target", "soon", code=2).stderr
    assert "Say which" in run("replay", code=2).stderr
    assert "Say which" in run("replay", "0191", "--since", "7d", code=2).stderr
    assert "--save keeps what" in run("replay", "--history", history, "--save", tmp_path / "x", code=2).stderr
    assert "not simulated" in run("replay", "0191", "--values", workload, code=2).stderr
    other = tmp_path / "other.yaml"
    other.write_text("worker: {pools: {default: {queues: [other]}}}", "utf-8")
    assert "no pool serves default" in run("simulate", workload, "--values", other, code=2).stderr
    empty = tmp_path / "empty.jsonl"
    empty.write_text("", "utf-8")
    assert "ran to its end" in run("replay", "--history", empty, code=2).stderr
