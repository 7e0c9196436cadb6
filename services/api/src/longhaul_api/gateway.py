"""What happens to every request before and after its route: an id, a limit for its body, a measurement, a last net."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from http import HTTPStatus
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longhaul.errors import BodyTooLarge, LonghaulError
from longhaul_api.metrics import Metrics
from longhaul_api.problems import problem_response, unexpected

_REQUEST_ID = re.compile(rb"[!-~]{1,128}")
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_LAST = (b"connection", b"close")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Gateway:
    """Plain ASGI middleware: it adds no task and no queue to a request, so a stream costs what it costs.

    While `is_stopping()` each answer is its connection's last: what comes next goes to another pod.
    """

    def __init__(
        self, app: ASGIApp, *, metrics: Metrics, body_limit_bytes: int, is_stopping: Callable[[], bool]
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._body_limit_bytes = body_limit_bytes
        self._is_stopping = is_stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._metrics, self._body_limit_bytes, self._is_stopping)
        try:
            if exchange.content_length > self._body_limit_bytes:
                await exchange.finish(BodyTooLarge(limit_bytes=self._body_limit_bytes))
            else:
                await self._app(scope, exchange.receive if exchange.has_body else receive, exchange.send)
        except Exception as error:  # noqa: BLE001 - the last net: whatever it was, the client gets an answer
            await exchange.finish(error)


class _Exchange:
    """One request and its answer."""

    __slots__ = (
        "_began", "_is_stopping", "_limit", "_metrics", "_receive", "_received", "_scope", "_send", "content_length", "has_body",
        "request_id", "started",
    )  # fmt: skip

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        metrics: Metrics,
        limit: int,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._began = perf_counter()
        self._scope = scope
        self._receive = receive
        self._send = send
        self._metrics = metrics
        self._limit = limit
        self._is_stopping = is_stopping
        self._received = 0
        self.started = False
        self.content_length = 0
        self.has_body = False
        given = b""
        for name, value in scope["headers"]:
            if name == b"content-length":
                self.content_length = int(value) if value.isdigit() else 0
                self.has_body = True
            elif name == b"transfer-encoding":
                self.has_body = True
            elif name == b"x-request-id":
                given = value
        self.request_id = given if _REQUEST_ID.fullmatch(given) else os.urandom(8).hex().encode()
        scope["request_id"] = self.request_id.decode()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            if self._received > self._limit:
                raise BodyTooLarge(limit_bytes=self._limit)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            message["headers"] += [(b"x-request-id", self.request_id), _NOSNIFF]
            if self._is_stopping():
                message["headers"].append(_LAST)
            route = getattr(self._scope.get("route"), "path", "none")
            method = self._scope["method"]
            self._metrics.request(
                route, method if method in _METHODS else "other", message["status"], perf_counter() - self._began
            )
        await self._send(message)

    async def finish(self, error: Exception) -> None:
        """Answer a request that nothing else has answered."""
        request_id = self.request_id.decode()
        if self.started:
            unexpected(error, request_id)
            raise error  # half an answer is out: the server closes the connection
        if isinstance(error, LonghaulError) and error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            response = problem_response(error, request_id)
        else:
            response = unexpected(error, request_id)
        await response(self._scope, self._receive, self.send)
