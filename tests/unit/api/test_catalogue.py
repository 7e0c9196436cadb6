"""The catalogue is read seldom, at once for a name that is new, and an outage takes away nothing that was known."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from longhaul.errors import InvalidParams, LedgerUnavailable, UnknownQueue, UnknownTask
from longhaul.task import TaskSpec
from longhaul_api.catalogue import Catalogue

pytestmark = pytest.mark.anyio


class Ledger:
    """Has tasks, counts its readers, and can be away."""

    def __init__(self) -> None:
        self.specs = {"report.write": TaskSpec(name="report.write")}
        self.readings = 0
        self.away = False

    async def read(self) -> tuple[Mapping[str, TaskSpec], frozenset[str]]:
        self.readings += 1
        await asyncio.sleep(0)
        if self.away:
            raise LedgerUnavailable
        return dict(self.specs), frozenset({"default"})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_known_name_is_read_once_and_then_behind_the_caller() -> None:
    ledger, clock = Ledger(), Clock()
    catalogue = Catalogue(ledger.read, refresh_seconds=2, clock=clock)
    for _ in range(3):
        (await catalogue.snapshot(tasks={"report.write"}, queues={"default"})).task("report.write")
    assert ledger.readings == 1
    clock.now = 2.0
    ledger.specs["report.print"] = TaskSpec(name="report.print")
    old = await catalogue.snapshot(tasks={"report.write"}, queues=set())
    assert "report.print" not in old.tasks
    await catalogue.refresh()
    new = await catalogue.snapshot(tasks={"report.print"}, queues=set())
    assert new.tasks["report.write"] is old.tasks["report.write"]  # what has not changed is not compiled again


async def test_a_name_that_is_new_is_read_at_once_and_many_are_one_reading() -> None:
    ledger = Ledger()
    catalogue = Catalogue(ledger.read, refresh_seconds=60, clock=Clock())
    await catalogue.snapshot(tasks={"report.write"}, queues=set())
    ledger.specs["brand.new"] = TaskSpec(name="brand.new")
    found = await catalogue.snapshot(tasks={"brand.new", *(f"no.such{n}" for n in range(100))}, queues={"nowhere"})
    assert found.task("brand.new").spec.name == "brand.new"
    assert ledger.readings == 2
    with pytest.raises(UnknownTask, match=r"Did you mean 'brand\.new'"):
        found.task("brand.news")
    with pytest.raises(UnknownQueue, match="GET /v1/queues"):
        found.require_queue("nowhere")


async def test_who_asks_at_the_same_moment_shares_a_reading() -> None:
    ledger = Ledger()
    catalogue = Catalogue(ledger.read, refresh_seconds=60, clock=Clock())
    await asyncio.gather(*[catalogue.snapshot(tasks={f"no.such{n}"}, queues=set()) for n in range(50)])
    assert ledger.readings == 2  # the second began after all of them asked


async def test_an_outage_takes_away_nothing_that_was_known() -> None:
    ledger, clock = Ledger(), Clock()
    catalogue = Catalogue(ledger.read, refresh_seconds=2, clock=clock)
    await catalogue.snapshot(tasks={"report.write"}, queues=set())
    ledger.away = True
    for clock.now in (5.0, 10.0):
        (await catalogue.snapshot(tasks={"report.write"}, queues={"default"})).task("report.write")
        await asyncio.sleep(0.01)
    with pytest.raises(LedgerUnavailable):
        await catalogue.snapshot(tasks={"no.such"}, queues=set())


async def test_params_are_checked_and_each_field_is_named() -> None:
    ledger = Ledger()
    schema = {"type": "object", "required": ["text"], "properties": {"pages": {"type": "integer", "minimum": 1}}}
    ledger.specs["report.write"] = TaskSpec(name="report.write", params_schema=schema)
    catalogue = Catalogue(ledger.read, refresh_seconds=60, clock=Clock())
    task = (await catalogue.snapshot(tasks={"report.write"}, queues=set())).task("report.write")
    task.check({"text": "x", "pages": 1})
    with pytest.raises(InvalidParams) as refused:
        task.check({"pages": 0})
    assert sorted(error["field"] for error in refused.value.details["errors"]) == [
        "/params",
        "/params/pages",
    ]
