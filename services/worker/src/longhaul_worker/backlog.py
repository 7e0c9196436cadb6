"""What a running job has said, and the ledger does not have yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import orjson

from longhaul.ledger.leases import Note

MAX_BACKLOG_BYTES: Final = 256 * 1024
"""Of notes that wait for the ledger. Past it the task waits while the ledger is up, and the oldest log lines are dropped,
and counted, while it is away."""
MAX_RECORD_BYTES: Final = 128 * 1024
"""Of notes in one write, so that no round of the recorder is long."""


class Backlog:
    """Notes that wait for the ledger, in order. Those that are in flight stay as they are until they are written."""

    def __init__(self, interval_seconds: float, clock: Callable[[], float]) -> None:
        self.notes: list[Note] = []
        self.bytes = 0
        self.progress: tuple[float, str] | None = None
        """The newest that the job's row does not have."""
        self._sizes: list[int] = []
        self._in_flight = 0
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._written_at = -1e9

    def add(self, note: Note) -> None:
        size = len(orjson.dumps(note.data))
        self.notes.append(note)
        self._sizes.append(size)
        self.bytes += size

    def replace(self, note: Note) -> None:
        """Add a note in the place of an earlier one of its type, if one waits."""
        waiting = range(self._in_flight, len(self.notes))
        position = next((i for i in reversed(waiting) if self.notes[i].type == note.type), None)
        if position is not None:
            self._remove(position)
        self.add(note)

    @property
    def is_full(self) -> bool:
        return self.bytes >= MAX_BACKLOG_BYTES

    def drop_oldest(self) -> None:
        """Drop log lines until the rest fits. One mark in their place says how many they were."""
        while self.bytes > MAX_BACKLOG_BYTES:
            position = next(
                (
                    i
                    for i in range(self._in_flight, len(self.notes))
                    if self.notes[i].type == "log" and not self._is_mark(i)
                ),
                None,
            )
            if position is None:
                return
            self._remove(position)
            self._mark(position)

    def take(self) -> tuple[list[Note], bool]:
        """The first bite, and whether it is all that waits."""
        size = count = 0
        for note_size in self._sizes:
            if count and size + note_size > MAX_RECORD_BYTES:
                break
            size, count = size + note_size, count + 1
        self._in_flight = count
        return self.notes[:count], count == len(self.notes)

    def wrote(self) -> None:
        for _ in range(self._in_flight):
            self.bytes -= self._sizes.pop(0)
        del self.notes[: self._in_flight]
        self._in_flight = 0
        self._written_at = self._clock()

    def keep(self) -> None:
        self._in_flight = 0

    def due_in_seconds(self) -> float:
        return max(0.0, self._written_at + self._interval_seconds - self._clock())

    def _remove(self, position: int) -> None:
        del self.notes[position]
        self.bytes -= self._sizes.pop(position)

    def _is_mark(self, position: int) -> bool:
        return "dropped" in self.notes[position].data

    def _mark(self, position: int) -> None:
        dropped = 1
        if position > self._in_flight and self._is_mark(position - 1):
            position -= 1
            dropped += self.notes[position].data["dropped"]
            self._remove(position)
        message = f"{dropped:,} log lines were dropped here, since the ledger was away."
        mark = Note(type="log", data={"level": "warning", "message": message, "dropped": dropped})
        size = len(orjson.dumps(mark.data))
        self.notes.insert(position, mark)
        self._sizes.insert(position, size)
        self.bytes += size
