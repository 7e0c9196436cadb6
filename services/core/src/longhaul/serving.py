"""Serve an ASGI app from a process that handles its own signals, and the small app of probes and metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Probe = Callable[[], Awaitable[dict[str, str]]]
"""Answers with what is wrong, by name; nothing wrong is healthy."""


class Server(uvicorn.Server):
    """uvicorn, leaving SIGTERM and SIGINT to whoever runs it: set `should_exit` to stop it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


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
