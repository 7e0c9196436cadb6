"""Durations and moments as people type them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer

from longhaul_cli.times import ago, parse_duration, parse_moment, spell_seconds

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("1.5h", 5400), ("7d", 604800), ("2w", 1209600), ("1h30m", 5400), ("1h 30m", 5400)],
)
def test_a_duration_is_read_in_its_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "7 days", "-7d", "1h,30m", "later"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write 90s, 15m"):
        parse_duration(text)


def test_a_moment_is_a_time_or_a_duration_from_now() -> None:
    assert parse_moment("15m", NOW) == parse_moment("+15m", NOW) == NOW + timedelta(minutes=15)
    assert parse_moment("-2h", NOW) == NOW - timedelta(hours=2)
    assert parse_moment("2026-03-02T08:00+01:00", NOW) == datetime(2026, 3, 2, 7, tzinfo=UTC)
    assert parse_moment("2026-03-02", NOW).tzinfo is not None
    with pytest.raises(typer.BadParameter, match="is no time"):
        parse_moment("tomorrow", NOW)


def test_times_are_spelled_with_their_two_largest_units() -> None:
    assert [spell_seconds(seconds) for seconds in (0, 1.23, 61, 3600, 90061)] == [
        "0.0s",
        "1.2s",
        "1m 1s",
        "1h",
        "1d 1h",
    ]
    assert ago(NOW - timedelta(minutes=3), NOW) == "3m ago"
    assert ago(NOW + timedelta(hours=2), NOW) == "in 2h"
    assert ago(None, NOW) == ""
