"""The keeper's side of the session: who may connect, and what each pool child may say in which state.

A process is known by its pid, as the kernel tells it (SO_PEERCRED), and not by what it says.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

import structlog

from longhaul_worker import metrics
from longhaul_worker.attempt import Attempt
from longhaul_worker.session import frames
from longhaul_worker.session.frames import BrokenFrame, FromChild, FromMain

_log = structlog.get_logger(__name__)

_CREDENTIALS: Final = struct.Struct("3i")
_CHUNK_BYTES: Final = 64 * 1024
LOOK_EVERY_SECONDS: Final = 1.0


class State(StrEnum):
    IDLE = "idle"
    CLAIMING = "claiming"
    RUNNING = "running"
    FINISHING = "finishing"
    """The task has returned, and its result is on its way."""


class Owner(Protocol):
    """What a session asks of the slots. `session` is the one that heard it."""

    def claim(self, session: KeeperSession, request: frames.ClaimRequest) -> None:
        """Answer with `assign` or `answer_nothing`, soon."""

    def checkpoint(
        self, session: KeeperSession, attempt: Attempt, frame: frames.Checkpoint, state: bytes | None
    ) -> None:
        """Answer with `Saved` or `Refused`, soon. `state` is None if it is too large."""

    def finish(self, session: KeeperSession, attempt: Attempt, frame: frames.Finish, result: bytes | None) -> None:
        """Answer with `answer_finished`, once the outcome is the keeper's."""


class KeeperSession:
    """What one pool child says, held against its state. It names its attempt in each frame: what is about another one is
    refused, and counted, and books nothing."""

    def __init__(self, pid: int, send: Callable[[bytes], None], owner: Owner) -> None:
        self.pid = pid
        self.state = State.IDLE
        self.attempt: Attempt | None = None
        """That this child runs; also while its result is on its way."""
        self._send = send
        self._owner = owner

    async def receive(self, frame: FromChild | FromMain, payload: bytes | None) -> None:
        """Take one frame. `payload` is None if it was too large to be read.

        Raises BrokenFrame for what this child may not say now: it must be killed. Returns once it may say more.
        """
        if isinstance(frame, frames.ClaimRequest):
            if self.state is not State.IDLE:
                raise BrokenFrame(f"it asked for a job while it was {self.state}")
            self.state = State.CLAIMING
            self._owner.claim(self, frame)
        elif isinstance(frame, frames.OfAttempt):
            attempt = self._find(frame)
            if attempt is None:
                self._refuse(frame)
            else:
                await self._hear(attempt, frame, payload)
        else:
            raise BrokenFrame(f"`{frame.op}` is nothing that a pool child says here")

    def assign(self, attempt: Attempt, claimed: frames.Claimed) -> None:
        """Give the job that was asked for."""
        self.state, self.attempt = State.RUNNING, attempt
        self.send(claimed)

    def answer_nothing(self, request: frames.ClaimRequest) -> None:
        """There is no job, or none that may start here now."""
        self.state = State.IDLE
        self.send(frames.NoJob(number=request.number))

    def answer_finished(self, frame: frames.Finish) -> None:
        """The outcome is the keeper's, and the child is free."""
        self.state, self.attempt = State.IDLE, None
        self.send(frames.Finished(number=frame.number))

    def send(self, frame: frames.Frame) -> None:
        """A process that is already gone hears nothing."""
        self._send(frames.encode(frame))

    def _find(self, frame: frames.OfAttempt) -> Attempt | None:
        attempt = self.attempt
        if attempt is None or self.state is not State.RUNNING or frame.pid != self.pid:
            return None
        is_this = (frame.job_id, frame.epoch) == (attempt.claim.job_id, attempt.claim.epoch)
        return attempt if is_this else None

    def _refuse(self, frame: frames.OfAttempt) -> None:
        metrics.FRAMES_REFUSED.labels(frame.op).inc()
        if isinstance(frame, frames.Checkpoint | frames.Finish):
            message = "This attempt is over."
            self.send(frames.Refused(number=frame.number, code="attempt_over", message=message))
        _log.warning("frame_refused", op=frame.op, pid=frame.pid, job_id=str(frame.job_id), epoch=frame.epoch)

    async def _hear(self, attempt: Attempt, frame: frames.OfAttempt, payload: bytes | None) -> None:
        match frame:
            case frames.Progress():
                attempt.progress(frame.fraction, frame.message, frame.data)
            case frames.LogLine():
                attempt.log(frame.level, frame.message, frame.fields)
                await attempt.wait_for_room()
            case frames.Checkpoint():
                self._owner.checkpoint(self, attempt, frame, payload)
            case frames.Finish():
                self.state = State.FINISHING
                self._owner.finish(self, attempt, frame, payload)


class Peers(Protocol):
    """What the socket's server asks of the slots."""

    def may_join(self, pid: int) -> bool:
        """Whether this process is a pool child of the Celery that runs now."""

    def is_main(self, pid: int) -> bool:
        """Whether this process is Celery's main one."""

    def join(self, pid: int, send: Callable[[bytes], None]) -> KeeperSession:
        """A pool child is there. Raises BrokenFrame if it was already."""

    def hear_main(self, frame: FromMain, send: Callable[[bytes], None]) -> None:
        """What Celery's main process says."""

    def main_left(self) -> None:
        """Celery's main process is gone."""

    def kill_broken(self, session: KeeperSession, reason: str) -> None:
        """A pool child broke the protocol."""

    def left(self, session: KeeperSession) -> None:
        """The connection is closed, and all that came over it was heard."""

    def payload_limit(self, frame: FromChild | FromMain) -> int:
        """The most bytes that may follow a frame; what is longer is dropped as it comes."""


class SessionServer:
    """Listens on the socket."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._path: Path | None = None
        self._servers: list[asyncio.Server] = []

    async def listen(self, path: Path) -> None:
        """For this user only."""
        self._path = path
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._servers.append(await asyncio.start_unix_server(self._serve, path))
        path.chmod(0o600)  # noqa: ASYNC240 - a file of this process on a local disk

    async def watch(self) -> None:
        """Listen again whenever the socket's path is gone, until cancelled: a task that tidies up /tmp takes it away, and no
        new pool child could connect."""
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            if self._path is not None and not self._path.is_socket():
                await self.listen(self._path)
                _log.warning("keeper_socket_restored")

    def close(self) -> None:
        """Accept nobody any more."""
        for server in self._servers:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid = _peer_pid(writer.get_extra_info("socket"))

        def send(frame: bytes) -> None:
            if not writer.is_closing():
                writer.write(frame)

        try:
            await self.converse(pid, reader, send)
        finally:
            writer.close()

    async def converse(self, pid: int, reader: asyncio.StreamReader, send: Callable[[bytes], None]) -> None:
        """Until the other side is gone, or has broken the protocol."""
        session: KeeperSession | None = None
        is_main = False
        try:
            while (read := await self._read(reader)) is not None:
                frame, payload = read
                if session is not None:
                    await session.receive(frame, payload)
                elif self._peers.is_main(pid) and isinstance(frame, FromMain):
                    is_main = True
                    self._peers.hear_main(frame, send)
                elif isinstance(frame, frames.Hello) and frame.pid == pid and self._peers.may_join(pid):
                    session = self._peers.join(pid, send)
                else:
                    raise BrokenFrame(  # noqa: TRY301 - answered as every other broken frame
                        f"`{frame.op}` by a process that is neither Celery nor a child of its pool"
                    )
        except (ConnectionError, EOFError):
            pass  # in the middle of a frame: its death tells more
        except Exception as error:  # noqa: BLE001 - what one child says may end that child, and nobody else
            reason = str(error) if isinstance(error, BrokenFrame) else f"{type(error).__name__}: {error}"
            metrics.SESSIONS_BROKEN.inc()
            if session is not None:
                self._peers.kill_broken(session, reason)
            _log.warning("session_broken", pid=pid, reason=reason, exc_info=not isinstance(error, BrokenFrame))
        finally:
            if session is not None:
                self._peers.left(session)
            elif is_main:
                self._peers.main_left()

    async def _read(self, reader: asyncio.StreamReader) -> tuple[FromChild | FromMain, bytes | None] | None:
        """The next frame and its payload; None at the end."""
        try:
            header = await reader.readexactly(frames.HEADER.size)
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            return None
        head_bytes, payload_bytes = frames.parse_header(header)
        frame = frames.parse_to_keeper(await reader.readexactly(head_bytes), payload_bytes)
        if payload_bytes <= self._peers.payload_limit(frame):
            return frame, await reader.readexactly(payload_bytes)
        while payload_bytes > 0:
            payload_bytes -= len(await reader.readexactly(min(payload_bytes, _CHUNK_BYTES)))
        return frame, None


def _peer_pid(connection: socket.socket) -> int:
    pid, _, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(pid)
