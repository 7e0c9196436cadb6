"""Workloads as files describe them."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, stdev
from textwrap import dedent

import pytest

from longhaul.errors import ConfigurationError
from longhaul_cli.simulator.workload import Workload, read_workload


def workload(tmp_path: Path, text: str) -> Workload:
    path = tmp_path / "workload.yaml"
    path.write_text(dedent(text), "utf-8")
    return read_workload(path)


def test_jobs_come_at_the_rate_of_their_hour_and_day(tmp_path: Path) -> None:
    hours = ", ".join(["0"] * 8 + ["2"] * 8 + ["1"] * 8)
    jobs = list(
        workload(
            tmp_path,
            f"""
            duration: 14d
            starts_on: fri
            streams:
              reports: {{per_hour: 60, by_hour: [{hours}], by_weekday: {{sat: 0.5, sun: 0}}, run: {{fixed: 30s}}}}
            """,
        ).draw(1)
    )
    due = [job.due_seconds for job in jobs]
    assert due == sorted(due)
    by_day = [sum(int(at // 86400) == day for at in due) for day in range(14)]
    # Friday, Saturday, Sunday, Monday ...; 60 x (8 x 2 + 8) on a full day.
    for day, expected in enumerate([1440, 720, 0, 1440, 1440, 1440, 1440] * 2):
        assert by_day[day] == pytest.approx(expected, abs=4 * 1440**0.5)
    by_hour = [sum(int(at % 86400 // 3600) == hour for at in due) for hour in range(24)]
    assert sum(by_hour[:8]) == 0
    assert sum(by_hour[8:16]) / sum(by_hour[16:]) == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(
    ("run", "mean", "cv"),
    [
        ("{fixed: 2m}", 120, 0),
        ("{exponential: 90}", 90, 1),
        ("{lognormal: {mean: 1h, cv: 0.5}}", 3600, 0.5),
        ("{empirical: [10, 20s, 30]}", 20, 0.408),
    ],
)
def test_jobs_run_as_long_as_their_distribution_says(tmp_path: Path, run: str, mean: float, cv: float) -> None:
    one = workload(tmp_path, f"{{duration: 1h, streams: {{a: {{per_hour: 20000, run: {run}}}}}}}")
    seconds = [job.run_seconds for job in one.draw(2)]
    assert fmean(seconds) == pytest.approx(mean, rel=0.03)
    assert stdev(seconds) / fmean(seconds) == pytest.approx(cv, rel=0.05, abs=0.001)


def test_bursts_come_once_each_day_or_each_week(tmp_path: Path) -> None:
    one = workload(
        tmp_path,
        """
        duration: 14d
        starts_on: wed
        streams:
          once: {bursts: [{at: 90m, count: 5}], run: {fixed: 1s}}
          daily: {bursts: [{at: "02:30", count: 3, over: 10m}], run: {fixed: 1s}}
          weekly: {bursts: [{at: "mon 09:00", count: 2}], run: {fixed: 1s}}
        """,
    )
    by_task: dict[str, list[float]] = {}
    for job in one.draw(0):
        by_task.setdefault(job.task, []).append(job.due_seconds)
    assert by_task["once"] == [5400] * 5
    assert by_task["weekly"] == [5 * 86400 + 9 * 3600] * 2 + [12 * 86400 + 9 * 3600] * 2
    assert len(by_task["daily"]) == 14 * 3
    assert all(9000 <= at % 86400 <= 9600 for at in by_task["daily"])


def test_a_share_can_hand_over(tmp_path: Path) -> None:
    one = workload(
        tmp_path,
        """
        duration: 1h
        streams:
          a: {bursts: [{at: 0s, count: 2000}], run: {fixed: 5m}, checkpoint: 20s, hand_over_share: 0.25}
          b: {bursts: [{at: 0s, count: 10}], run: {fixed: 5m}, queue: other, priority: 3, task: named}
        """,
    )
    jobs = list(one.draw(0))
    kept = [job.checkpoint_seconds for job in jobs if job.task == "a"]
    assert {*kept} == {None, 20}
    assert sum(one is not None for one in kept) / 2000 == pytest.approx(0.25, abs=0.04)
    assert {(job.queue, job.priority, job.checkpoint_seconds) for job in jobs if job.task == "named"} == {
        ("other", 3, None)
    }


def test_one_seed_has_the_same_jobs_and_another_stream_changes_none(tmp_path: Path) -> None:
    stream = "a: {per_hour: 100, run: {exponential: 1m}}"
    alone = workload(tmp_path, f"{{duration: 5h, streams: {{{stream}}}}}")
    beside = workload(tmp_path, f"{{duration: 5h, streams: {{{stream}, b: {{per_hour: 50, run: {{fixed: 5}}}}}}}}")
    assert list(alone.draw(3)) == list(alone.draw(3)) != list(alone.draw(4))
    assert [job for job in beside.draw(3) if job.task == "a"] == list(alone.draw(3))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("streams: {a: {per_hour: 1, run: {fixed: 1s}}}", "duration is missing."),
        ("{duration: 1h, streams: {}}", "streams: "),
        (
            "{duration: soon, streams: {a: {per_hour: 1, run: {fixed: 1}}}}",
            "duration is 'soon': write 90s, 15m",
        ),
        ("{duration: 1h, streams: {a: {per_hour: -1, run: {fixed: 1}}}}", "streams.a.per_hour is -1: "),
        ("{duration: 1h, streams: {a: {per_hour: 1}}}", "streams.a.run is missing."),
        ("{duration: 1h, streams: {a: {per_hour: 1, run: {}}}}", "streams.a.run: say one of fixed,"),
        ("{duration: 1h, streams: {a: {run: {fixed: 1}}}}", "streams.a: say per_hour, bursts, or both"),
        ("{duration: 1h, streams: {a: {per_hr: 1, run: {fixed: 1}}}}", "streams.a.per_hr is not known here"),
        (
            "{duration: 1h, streams: {a: {bursts: [{at: noon, count: 1}], run: {fixed: 1}}}}",
            "streams.a.bursts.0.at is 'noon': write \"09:00\" for each day",
        ),
        ("{duration: 1h, streams: {a: {bursts: [{at: '25:00', count: 1}], run: {fixed: 1}}}}", "from 00:00 to 23:59"),
        ("[1, 2]", "must hold names and values"),
        ("{duration: 1h", "is no YAML"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        workload(tmp_path, text)
    assert said in caught.value.message
    assert "workload.yaml" in caught.value.message
    assert "pydantic" not in caught.value.message


def test_a_file_that_is_not_there_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml can't be read"):
        read_workload(Path("nowhere.yaml"))
