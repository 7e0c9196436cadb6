"""What the mixed run draws from its seed, and how it records and reports what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from tests.faults.catalogue import FAULTS
from tests.faults.mixed.checker import Violation
from tests.faults.mixed.executions import FOLDER_VARIABLE, executing, read, record_ghost
from tests.faults.mixed.faults import KINDS
from tests.faults.mixed.history import History
from tests.faults.mixed.hostile import kinds as hostile
from tests.faults.mixed.plan import draw
from tests.faults.mixed.recovery import figures
from tests.faults.mixed.work import orders
from tests.faults.report import Part, Report, Side


def test_a_seed_gives_the_same_run_again() -> None:
    assert draw(7, sorted(KINDS), seconds=600, count=100) == draw(7, sorted(KINDS), seconds=600, count=100)
    assert draw(7, sorted(KINDS), seconds=600, count=100) != draw(8, sorted(KINDS), seconds=600, count=100)
    assert list(islice(orders(7, hostile_share=0.2), 500)) == list(islice(orders(7, hostile_share=0.2), 500))


def test_about_one_job_in_five_is_hostile_and_every_kind_comes() -> None:
    some = list(islice(orders(7, hostile_share=0.2), 10_000))
    kinds = [order.kind for order in some if order.is_hostile]
    assert 0.18 < len(kinds) / len(some) < 0.22
    assert set(kinds) == hostile.KINDS.keys()
    assert len({order.token for order in some}) == len(some)


def test_both_sides_of_a_comparison_are_asked_for_the_same_honest_jobs() -> None:
    ours = (order for order in orders(7, hostile_share=0.2) if not order.is_hostile)
    for one, other in zip(islice(ours, 500), orders(7, hostile_share=0.0), strict=False):
        assert replace(one, key="") == replace(other, key="")


def test_a_plan_has_each_kind_as_often_as_the_others_and_in_order() -> None:
    plan = draw(1, ["a", "b", "c"], seconds=60, count=30)
    assert Counter(one.kind for one in plan) == {"a": 10, "b": 10, "c": 10}
    assert [one.at_seconds for one in plan] == sorted(one.at_seconds for one in plan)
    assert 0 <= plan[0].at_seconds < plan[-1].at_seconds < 60


def test_each_kind_shows_faults_of_the_catalogue() -> None:
    assert {name for kind in KINDS.values() for name in kind.shows.split()} <= FAULTS.keys()
    assert len(KINDS) >= 15


def test_executions_tell_how_they_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with executing("key-1", "job-1", 1):
        pass
    with pytest.raises(LookupError), executing("key-2", "job-2", 1):
        raise LookupError
    killed = executing("key-3", "job-3", 4, found={"step": 2})
    killed.__enter__().write("saves", step=3)
    with next(tmp_path.iterdir()).open("ab") as file:
        file.write(b'\n{"what": "be')  # a kill tore it; what follows is of another process with the same pid
    record_ghost("job-1", 1, "log", "AttemptOver")
    found, ghosts = read(tmp_path)
    assert [(one.job_id, one.call, one.answer) for one in ghosts] == [("job-1", "log", "AttemptOver")]
    assert (found[2].found, found[2].sent_step) == ({"step": 2}, 3)
    assert [(one.key, one.epoch, one.ending) for one in found] == [
        ("key-1", 1, "completed"),
        ("key-2", 1, "left"),
        ("key-3", 4, "killed"),
    ]
    assert all(one.began_at <= one.seen_at for one in found)


def test_the_report_fails_with_whatever_failed(tmp_path: Path) -> None:
    nothing = figures(History(lease_seconds=15, renew_seconds=3, deadline_seconds=5))
    side = Side("longhaul", 1, 30, nothing, {"jobs": 1}, {"worker.kill": 1}, 180, 1.0, 0)
    report = Report({"Python": "3"}, [Part("simulation", "python -m x", passed=True, seconds=60, tail=["ok"])], [side])
    assert report.passed
    side.violations.append(Violation("I1", "A job was lost."))
    assert not report.passed
    report.write(tmp_path)
    assert "- I1: A job was lost." in (tmp_path / "faults.md").read_text()
    assert '"passed": false' in (tmp_path / "faults.json").read_text()
