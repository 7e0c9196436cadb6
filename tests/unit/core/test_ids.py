"""Ids of jobs."""

from __future__ import annotations

import time
from uuid import RFC_4122

from longhaul.ids import new_job_id


def test_an_id_is_a_uuid_of_version_7_that_tells_its_millisecond() -> None:
    before_ms = time.time_ns() // 1_000_000
    ids = [new_job_id() for _ in range(1000)]
    after_ms = time.time_ns() // 1_000_000
    for id in ids:
        assert id.version == 7
        assert id.variant == RFC_4122
        assert before_ms <= id.int >> 80 <= after_ms


def test_ids_sort_by_the_microsecond_in_which_they_were_made() -> None:
    ids = []
    for _ in range(1000):
        now_us = time.time_ns() // 1000
        while time.time_ns() // 1000 <= now_us:
            pass
        ids.append(new_job_id())
    assert ids == sorted(ids)
    assert [str(id) for id in ids] == sorted(str(id) for id in ids)


def test_no_two_ids_are_equal() -> None:
    assert len({new_job_id() for _ in range(50_000)}) == 50_000
