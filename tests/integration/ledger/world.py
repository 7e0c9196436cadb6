"""What everyone outside the ledger knows: what they sent, and what they were answered."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from tests.integration.ledger.given import Claimer
from tests.reference_model import Job, Limits

from longhaul.ledger.claims import Claim
from longhaul.ledger.jobs import NewJob
from longhaul.ledger.leases import Written
from longhaul.states import TERMINAL, State

T = TypeVar("T")

RARE = "test.rare"
NARROW = "narrow"
TASK_LIMITS = {RARE: 1}
QUEUE_LIMITS = {NARROW: 2}


@dataclass
class World:
    """One world, from an empty ledger on."""

    sent: dict[UUID, NewJob] = field(default_factory=dict)
    accepted: dict[UUID, None] = field(default_factory=dict)
    """Jobs that were answered for, in that order."""
    claims: list[tuple[Claimer, Claim]] = field(default_factory=list)
    """All there ever were, so that most of them are stale."""
    jobs: dict[UUID, Job] = field(default_factory=dict)
    """All rows as they were before this step, as the state machine sees them."""
    limits: dict[str, Limits] = field(default_factory=dict)
    """What may run at once, by queue."""
    live: set[tuple[UUID, int]] = field(default_factory=set)
    """Jobs and epochs that were running before this step, or were claimed in it."""
    ran_out: set[tuple[UUID, int]] = field(default_factory=set)
    """Those of them whose lease had run out."""
    over: dict[UUID, State] = field(default_factory=dict)
    """Jobs that someone was told have ended."""
    resolved: set[UUID] = field(default_factory=set)
    """Jobs that were replayed or discarded: those of them that are dead may be purged."""
    letters: set[UUID] = field(default_factory=set)
    """Those of them that were taken out of the dead-letter queue so."""
    paused: set[str] = field(default_factory=set)
    purged: int = 0
    """Jobs that purges of this step have counted."""
    connections: dict[UUID, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    """A keeper has one connection: what it does to several jobs at once, it does one after the other."""
    step: Sequence[object] = ()
    """The moves that are made side by side now."""

    @property
    def alone(self) -> bool:
        """Whether nothing else is going on, so that there is one right answer."""
        return len(self.step) == 1

    @property
    def worth_replaying(self) -> list[UUID]:
        """Jobs that failed, some of which were resolved, and perhaps purged, since."""
        return [id for id, state in self.over.items() if state in {State.DEAD, State.FAILED}]

    def pick(self, numbers: Sequence[int]) -> tuple[Claimer, list[Claim]]:
        """A worker and claims of it: held ones, twins from the past of what is running now, or any, most of them stale."""
        held = [pair for pair in self.claims if not self.must_refuse(pair[1])]
        running = {job_id for job_id, _ in self.live}
        twins = [pair for pair in self.claims if self.must_refuse(pair[1]) and pair[1].job_id in running]
        kinds = (held, twins or held, self.claims)
        picked = [pair for number in numbers for pair in nth(kinds[number % 3], number // 3)]
        owner = picked[0][0] if picked else Claimer()
        return owner, [claim for worker, claim in picked if worker is owner]

    def must_refuse(self, claim: Claim) -> bool:
        """Whether someone else has had the job, or nobody, since before this step."""
        return (claim.job_id, claim.epoch) not in self.live

    def hear(self, written: Written) -> None:
        """Take note of the end of an attempt."""
        if written.state is not None and State(written.state) in TERMINAL:
            self.over[written.job_id] = State(written.state)

    def resolve(self, id: UUID, *, as_letter: bool) -> None:
        """Take note of a replay or a discard; `as_letter`: out of the dead-letter queue, which happens once."""
        assert not (as_letter and id in self.letters), f"twice out of the dead-letter queue: {id}"
        self.resolved.add(id)
        if as_letter:
            self.letters.add(id)


def nth(things: Sequence[T], number: int) -> list[T]:
    """One of these, counted from the newest; nothing where there are none."""
    return [things[-1 - number % len(things)]] if things else []
