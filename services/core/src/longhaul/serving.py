"""A process that serves: its start, an ASGI app beside its own signals, and the small app of probes and metrics."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from longhaul.errors import ConfigurationError, LonghaulError

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Probe = Callable[[], Awaitable[dict[str, str]]]
"""Answers with what is wrong, by name; nothing wrong is healthy."""

_CANCEL_AGAIN_SECONDS = 0.5


@contextmanager
def exit_with_a_sentence() -> Iterator[None]:
    """Around a process' start: an error of ours becomes its message on stderr and exit code 2, never a traceback."""
    try:
        yield
    except LonghaulError as error:
        print(error.message, file=sys.stderr)  # noqa: T201 - the answer to whoever started it
        sys.exit(2)


class Server(uvicorn.Server):
    """uvicorn, leaving SIGTERM and SIGINT to whoever runs it: set `should_exit` to stop it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Raises ConfigurationError where nothing can listen on the port. uvicorn's own SystemExit would end the event loop
        with everything in it, and nothing would be closed."""
        try:
            await super().startup(sockets)
        except SystemExit as error:
            place = f"{self.config.host}:{self.config.port}"
            raise ConfigurationError(
                f"Nothing can listen on {place}: end what listens there, or choose another port."
            ) from error


def create_server(app: Any, *, host: str, port: int, **options: Any) -> Server:
    """A server that logs nothing of its own; `await server.serve()` runs it."""
    return Server(
        uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False, lifespan="off", **options)
    )


def create_probe_app(probes: dict[str, Probe]) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An ASGI app that answers each path of `probes` with 200 or 503, and `/metrics` for Prometheus."""

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return None
        path = scope["path"]
        if path == "/metrics":
            return await _answer(send, 200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY))
        if path not in probes:
            return await _answer(send, 404, "application/json", b'{"error":"not found"}')
        problems = await probes[path]()
        body = orjson.dumps({"status": "unhealthy" if problems else "ok", "problems": problems})
        return await _answer(send, 503 if problems else 200, "application/json", body)

    return app


async def _answer(send: Send, status: int, content_type: str, body: bytes) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel until all have ended. Once is not enough: `asyncio.wait_for` of Python 3.11, by which psycopg waits, loses
    a cancellation that comes together with what it waited for, and its task would go on for ever."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=_CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)  # so that none complains that nobody asked how it ended
