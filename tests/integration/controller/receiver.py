"""A receiver of webhooks on a real port of 127.0.0.1, that answers as badly as a test wants."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook
from tests.waiting import eventually

Behave = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""Answers one request, on the open connection."""


@dataclass(frozen=True)
class Request:
    """What came."""

    line: str
    headers: dict[str, str]
    body: bytes

    def verified(self, secret: str) -> dict[str, Any]:
        """The message. Raises WebhookVerificationError where it is not signed with this secret, and now."""
        message: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return message


@dataclass
class Receiver:
    """The requests so far; `behave` answers the next ones, in order, the last of them for ever."""

    port: int = 0
    behave: list[Behave] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    scheme: str = "http"
    serving: set[asyncio.Task[Any]] = field(default_factory=set)

    def url(self, host: str = "127.0.0.1", path: str = "/hook") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    @property
    def ids(self) -> list[str]:
        return [one.headers["webhook-id"] for one in self.requests]

    async def received(self, count: int, *, timeout_seconds: float = 10.0) -> list[Request]:
        """Wait until so many requests came."""

        async def enough() -> bool:
            return len(self.requests) >= count

        await eventually(enough, timeout_seconds=timeout_seconds, what=f"{count} requests came")
        return self.requests

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
            body = await reader.readexactly(int(headers["content-length"]))
            self.requests.append(Request(line, headers, body))
            number = min(len(self.requests), len(self.behave)) - 1
            await (self.behave[number] if self.behave else status(200))(writer)
        writer.close()


def status(code: int, **headers: str) -> Behave:
    """Answer with a status."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {code} Whatever\r\n{lines}content-length: 2\r\n\r\nok".encode())
        await writer.drain()

    return answer


async def silence(writer: asyncio.StreamWriter) -> None:
    """Take the request and say nothing, until the other side has had enough."""
    await writer.wait_closed()


async def noise(writer: asyncio.StreamWriter) -> None:
    """Answer what is no HTTP."""
    writer.write(b"220 mail.example.com ESMTP\r\n")
    await writer.drain()


def drip(*, part: bytes, every_seconds: float) -> Behave:
    """Never stop to answer: a byte or two at a time, so that no timeout between two reads is ever reached."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(every_seconds)

    return answer


@asynccontextmanager
async def receiving(*behave: Behave, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver until the end of the block."""
    receiver = Receiver(behave=list(behave), scheme="https" if tls else "http")
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in receiver.serving:
            task.cancel()
        await asyncio.gather(*receiver.serving, return_exceptions=True)
