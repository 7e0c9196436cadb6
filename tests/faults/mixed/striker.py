"""Carries out a plan: each fault at its time, in a thread of its own, one at a time on each process and server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain

from tests.faults.mixed.faults import KINDS, Kind, Scene
from tests.faults.mixed.fleet import Seat
from tests.faults.mixed.history import Fault, History
from tests.faults.mixed.longhaul_side import LonghaulSide
from tests.faults.mixed.plan import Planned
from tests.faults.mixed.stack import Stack
from tests.faults.toxiproxy import is_installed

POLL_SECONDS = 0.05


def kinds_for(stack: type[Stack]) -> Mapping[str, Kind]:
    """The kinds that exist on a side, on this machine."""
    is_ours = issubclass(stack, LonghaulSide)
    return {
        name: kind
        for name, kind in KINDS.items()
        if (is_ours or not kind.longhaul_only) and (not kind.needs_proxy or is_installed())
    }


class Striker:
    """Breaks a stack by plan, and writes down what it did."""

    def __init__(self, stack: Stack, plan: Sequence[Planned], history: History) -> None:
        kinds = kinds_for(type(stack))
        self.errors: list[str] = []
        """Faults that could not be carried out, or after which something did not come back."""
        self._stack = stack
        self._plan = [one for one in plan if one.kind in kinds]
        self._history = history
        self._over = threading.Event()
        self._servers = {"redis": threading.Lock(), "postgres": threading.Lock()}
        self._controllers = threading.Lock()
        # Half of the workers and one API stay whole: with none of them there would be nothing to see.
        self._spare = {name: threading.Semaphore(len(stack.fleet.of(name)) // 2) for name in ("worker", "api")}
        self._thread = threading.Thread(target=self._run, name="striker")

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """No new faults; return once those that last are over, and what they broke is whole again."""
        self._over.set()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        began, threads = time.monotonic(), list[threading.Thread]()
        for planned in self._plan:
            if self._over.wait(max(0.0, began + planned.at_seconds - time.monotonic())):
                break
            threads.append(threading.Thread(target=self._strike, args=(planned,), name=planned.kind))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _strike(self, planned: Planned) -> None:
        kind = KINDS[planned.kind]
        try:
            with self._target(kind, planned.pick) as (name, seat):
                if self._over.is_set():
                    return
                names = [name] if seat is None else [name, seat.name]
                fault = Fault(kind.name, time.monotonic(), 0.0, names)
                scene = Scene(self._stack, fault, seat, planned.pick, self._over)
                try:
                    kind.strike(scene)
                finally:
                    fault.ended_at = time.monotonic()
                    self._history.faults.append(fault)
                if seat is not None:
                    self._wait_whole(seat)
        except Exception as error:  # noqa: BLE001 - whatever it was, the report must tell it
            self.errors.append(f"{planned.kind} at {planned.at_seconds:.0f} s: {type(error).__name__}: {error}")

    def _wait_whole(self, seat: Seat) -> None:
        """Until whoever sits here serves: the next fault on it meets a process that was up."""
        deadline = time.monotonic() + 5.0
        while seat.was_told and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)  # the watcher has not seen its end yet
        self._stack.wait_ready(seat)

    @contextmanager
    def _target(self, kind: Kind, pick: float) -> Iterator[tuple[str, Seat | None]]:
        """What the fault is about, held for it alone: its name, and its seat where it is a process."""
        if kind.on in self._servers:
            with self._servers[kind.on]:
                yield kind.on, None
        elif kind.on in ("leader", "standby"):
            with self._controllers:
                seat = self._controller(leads=kind.on == "leader")
                yield seat.process_name, seat
        else:
            with self._spare[kind.on]:
                seat = self._free(self._stack.fleet.of(kind.on), pick)
                try:
                    yield seat.process_name, seat
                finally:
                    seat.lock.release()

    def _free(self, seats: Sequence[Seat], pick: float) -> Seat:
        """The first of these that no other fault works on, from the chosen one on; it is locked then."""
        first = int(pick * len(seats))
        while True:
            for seat in chain(seats[first:], seats[:first]):
                if seat.lock.acquire(blocking=False):
                    return seat
            time.sleep(POLL_SECONDS)

    def _controller(self, *, leads: bool) -> Seat:
        """The one that leads, or another; any, where none leads right now."""
        assert isinstance(self._stack, LonghaulSide)
        seats = self._stack.fleet.of("controller")
        return next((seat for seat in seats if self._stack.leads(seat) == leads), seats[0])
