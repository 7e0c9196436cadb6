"""The socket between two processes of a pod: bytes in order, which arrive a little later, whole or in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson

from longhaul_worker.session import frames
from longhaul_worker.session.frames import Answer, Reap, Stop

if TYPE_CHECKING:
    from tests.faults.simulation.kernel import Process
    from tests.faults.simulation.pod import Keeper

PIPE_SECONDS = 0.0005
"""A message between two processes of a pod."""
READER_BYTES = 8 * 1024
"""What the keeper reads ahead: a real one takes 64 KiB."""
FULL_BYTES = 16 * 1024
"""What a socket holds until its writer has to wait: a real one takes some 200 KiB."""
PROGRESS_INTERVAL_SECONDS = 0.05
"""Of `session.transport`."""
_LOG = b'{"op":"log"'


class Connection:
    """One process of a pool, or Celery's main one, and its keeper. The reader is the keeper's end; it is `StreamReader`'s
    transport, which stops and goes on reading."""

    def __init__(
        self,
        process: Process,
        keeper: Keeper,
        pid: int,
        hear: Callable[[Answer | Stop | Reap], None],
        closed: Callable[[], None],
    ) -> None:
        self._process = process
        self._keeper = keeper
        self._pid = pid
        self._hear = hear
        self._closed = closed
        self._unread: list[bytearray | None] = []
        """What has arrived, while the keeper does not read; None: the end."""
        self._on_its_way: list[bytearray] = []
        self._waiting_bytes = 0
        self._is_paused = False
        self._is_closed = False
        self._room: list[asyncio.Future[None]] = []
        self.reader = asyncio.StreamReader(READER_BYTES, loop=keeper.process.loop)
        self.reader.set_transport(self)  # type: ignore[arg-type]  # as much of a transport as a reader uses
        process.on_death.append(self._die)
        keeper.process.after(PIPE_SECONDS, self._accept)

    # The end of the process.

    def write(self, data: bytes) -> None:
        """Send it as a whole, or in two pieces."""
        if self._is_closed or not self._process.is_alive:
            return
        random = self._keeper.world.kernel.random
        self._waiting_bytes += len(data)
        if len(data) > 1 and random.random() < 0.03:
            cut = random.randrange(1, len(data))
            self._post(bytearray(data[:cut]))
            self._post(bytearray(data[cut:]))
        else:
            self._post(bytearray(data))

    async def drain(self) -> None:
        """Wait while the other end does not read."""
        while self._waiting_bytes > FULL_BYTES and not self._is_closed:
            room: asyncio.Future[None] = self._process.loop.create_future()
            self._room.append(room)
            await room

    def _post(self, data: bytearray) -> None:
        self._on_its_way.append(data)
        self._keeper.process.after(PIPE_SECONDS, self._arrive)

    def _die(self) -> None:
        """What was sent arrives, perhaps not all of a last frame; and then the end."""
        random = self._keeper.world.kernel.random
        if self._on_its_way and random.random() < 0.2:
            del self._on_its_way[-1][random.randrange(len(self._on_its_way[-1])) :]
        self._keeper.process.after(PIPE_SECONDS, self._arrive_end)

    # The keeper's end.

    def _accept(self) -> None:
        self._keeper.process.start(self._serve())

    async def _serve(self) -> None:
        try:
            await self._keeper.server.converse(self._pid, self.reader, self.send)
        finally:
            if not self._is_closed:
                self._is_closed = True
                self._process.after(PIPE_SECONDS, self._closed)
                self._make_room()

    def send(self, frame: bytes) -> None:
        """What `SessionServer.converse` says to this process."""
        if not self._is_closed and self._process.is_alive:
            self._process.after(PIPE_SECONDS, self._hear_bytes, frame)

    def _hear_bytes(self, frame: bytes) -> None:
        head_bytes, _ = frames.HEADER.unpack(frame[: frames.HEADER.size])
        self._hear(frames.parse_from_keeper(frame[frames.HEADER.size : frames.HEADER.size + head_bytes]))

    def _arrive(self) -> None:
        self._take(self._on_its_way.pop(0))

    def _arrive_end(self) -> None:
        self._take(None)

    def _take(self, data: bytearray | None) -> None:
        if self._is_closed:
            return
        if self._is_paused or self._unread:
            self._unread.append(data)
        elif data is None:
            self.reader.feed_eof()
        else:
            self._waiting_bytes -= len(data)
            self.reader.feed_data(data)

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        while self._unread and not self._is_paused:
            data = self._unread.pop(0)
            if data is None:
                self.reader.feed_eof()
            else:
                self._waiting_bytes -= len(data)
                self.reader.feed_data(data)
        self._make_room()

    def _make_room(self) -> None:
        waiting, self._room = self._room, []
        for room in waiting:
            self._process.after(PIPE_SECONDS, _go_on, room)


def _go_on(room: asyncio.Future[None]) -> None:
    if not room.done():
        room.set_result(None)


class ChildWire:
    """`session.child.Wire` of a simulated pool child. Tells `on_line` each log line that leaves it."""

    def __init__(self, process: Process, connection: Connection, on_line: Callable[[str], None]) -> None:
        self._process = process
        self._connection = connection
        self._on_line = on_line
        self._latest: bytes | None = None
        self._sent_latest_at = -1.0

    def send(self, frame: bytes) -> None:
        self._flush()
        start = frames.HEADER.size
        if frame.startswith(_LOG, start):
            head_bytes, _ = frames.HEADER.unpack(frame[:start])
            self._on_line(orjson.loads(frame[start : start + head_bytes])["message"])
        self._connection.write(frame)

    def send_latest(self, frame: bytes) -> None:
        is_waiting = self._latest is not None
        self._latest = frame
        if not is_waiting:
            loop = self._process.loop
            loop.call_later(self._sent_latest_at + PROGRESS_INTERVAL_SECONDS - loop.time(), self._flush)

    def _flush(self) -> None:
        if self._latest is not None:
            latest, self._latest = self._latest, None
            self._sent_latest_at = self._process.loop.time()
            self._connection.write(latest)

    def inject(self, data: bytes) -> None:
        """What hostile code writes into the socket that it found."""
        self._connection.write(data)

    async def drain(self) -> None:
        await self._connection.drain()
