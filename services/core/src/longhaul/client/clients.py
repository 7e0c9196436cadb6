"""`Client` and `AsyncClient`: they send what `calls` describes, and wait. Everything else they share."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

import anyio
import httpx2

from longhaul.client import answers, calls, connection
from longhaul.client.calls import Call, JobId
from longhaul.client.following import SILENCE_SECONDS, Following, LongPoll
from longhaul.contract import EventView, JobPage, JobView

P = ParamSpec("P")
T = TypeVar("T")


class _Method(Generic[P, T]):
    """A method of both clients: takes what the call takes, returns what its answer holds, or an awaitable of it."""

    def __init__(self, make: Callable[P, Call[T]]) -> None:
        self._make = make
        self.__doc__ = make.__doc__
        self.__wrapped__ = make

    @overload
    def __get__(self, client: None, owner: object) -> Self: ...
    @overload
    def __get__(self, client: Client, owner: object) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncClient, owner: object) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, client: Client | AsyncClient | None, owner: object) -> Any:
        if client is None:
            return self

        @functools.wraps(self._make)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client._run(self._make(*args, **kwargs))  # noqa: SLF001  # the clients are this class's other half

        return method


class _Pages(Generic[P]):
    """A method of both clients that iterates over the jobs of all pages."""

    def __init__(self, make: Callable[P, Call[JobPage]]) -> None:
        self._make = make
        self.__doc__ = make.__doc__
        self.__wrapped__ = make

    @overload
    def __get__(self, client: None, owner: object) -> Self: ...
    @overload
    def __get__(self, client: Client, owner: object) -> Callable[P, Iterator[JobView]]: ...
    @overload
    def __get__(self, client: AsyncClient, owner: object) -> Callable[P, AsyncIterator[JobView]]: ...
    def __get__(self, client: Client | AsyncClient | None, owner: object) -> Any:
        if client is None:
            return self

        @functools.wraps(self._make)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client._iterate(self._make(*args, **kwargs))  # noqa: SLF001  # the clients are this class's other half

        return method


class _Api:
    """What both clients can ask."""

    submit = _Method(calls.submit)
    submit_batch = _Method(calls.submit_batch)
    get = _Method(calls.get)
    result = _Method(calls.result)
    attempts = _Method(calls.attempts)
    logs = _Method(calls.logs)
    cancel = _Method(calls.cancel)
    replay = _Method(calls.replay)
    webhook = _Method(calls.webhook)
    redeliver = _Method(calls.redeliver)
    list = _Pages(calls.list_jobs)
    tasks = _Method(calls.tasks)
    queues = _Method(calls.queues)
    pause = _Method(calls.pause)
    resume = _Method(calls.resume)
    limit = _Method(calls.limit)
    workers = _Method(calls.workers)
    dead_letters = _Pages(calls.dead_letters)
    dead_letter = _Method(calls.dead_letter)
    replay_dead_letters = _Method(calls.replay_dead_letters)
    discard = _Method(calls.discard)

    def __init__(self, url: str | None = None, api_key: str | None = None, *, retry_seconds: float = 30.0) -> None:
        """`url` and `api_key` come from LONGHAUL_URL (default http://127.0.0.1:8080) and LONGHAUL_API_KEY where unset.

        Failed connections, and answers that say `not now`, are tried again for `retry_seconds` where that is safe.
        Raises ConfigurationError.
        """
        settings = connection.load_client_settings(url=url, api_key=api_key)
        self.url = settings.url
        self._retry_seconds = retry_seconds
        self._options = connection.options(settings)


class Client(_Api):
    """The API, called from ordinary code. Use it as a context manager, or `close` it. Threads may share it."""

    def __init__(self, url: str | None = None, api_key: str | None = None, *, retry_seconds: float = 30.0) -> None:
        super().__init__(url, api_key, retry_seconds=retry_seconds)
        self._http = httpx2.Client(**self._options)

    __init__.__doc__ = _Api.__init__.__doc__

    def wait(self, id: JobId, timeout: float | None = None) -> JobView:
        """Wait until a job has ended, at most `timeout` seconds. Raises StillRunning; the job goes on then."""
        poll = LongPoll(id, timeout)
        while True:
            job = self._run(poll.next())
            pause = poll.pause_after(job)
            if pause is None:
                return job
            time.sleep(pause)

    def events(self, id: JobId, *, after: int = 0) -> Iterator[EventView]:
        """The events of a job with an id above `after`, each once and in order, to the last: through lost connections
        and restarts of the API. Raises UnknownJob; ApiUnreachable where the API stays away for `retry_seconds`.
        """
        following = Following(id, after=after)
        timeout = connection.timeout(SILENCE_SECONDS)
        while not following.has_ended:
            try:
                with self._http.sse(following.path, headers=following.headers(), timeout=timeout) as stream:
                    if not stream.response.is_success:
                        stream.response.read()
                    if following.accept(stream.response):
                        for sent in stream:
                            if event := following.take(sent):
                                yield event
                            if following.has_ended:
                                return
            except httpx2.TransportError:
                pass  # the next lines ask for the job, with retries, before another stream is opened
            if not following.has_ended:
                if event := following.after_stream(self._run(calls.get(id))):
                    yield event
                time.sleep(following.pause_seconds)

    def _run(self, call: Call[T]) -> T:
        tries = answers.Tries(self._retry_seconds)
        while True:
            try:
                response = self._http.request(**connection.request(call))
                pause = tries.pause_after(call, response)
            except httpx2.TransportError as error:
                pause = tries.pause_after_error(call, error)
            else:
                if pause is None:
                    return answers.read(call, response)
            time.sleep(pause)

    def _iterate(self, call: Call[JobPage]) -> Iterator[JobView]:
        page = self._run(call)
        yield from page.jobs
        while page.next:
            page = self._run(call.with_query(cursor=page.next))
            yield from page.jobs

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(_Api):
    """The API, called from asyncio or trio. Use it as an async context manager, or `aclose` it."""

    def __init__(self, url: str | None = None, api_key: str | None = None, *, retry_seconds: float = 30.0) -> None:
        super().__init__(url, api_key, retry_seconds=retry_seconds)
        self._http = httpx2.AsyncClient(**self._options)

    __init__.__doc__ = _Api.__init__.__doc__

    async def wait(self, id: JobId, timeout: float | None = None) -> JobView:
        """As `Client.wait`."""
        poll = LongPoll(id, timeout)
        while True:
            job = await self._run(poll.next())
            pause = poll.pause_after(job)
            if pause is None:
                return job
            await anyio.sleep(pause)

    async def events(self, id: JobId, *, after: int = 0) -> AsyncIterator[EventView]:
        """As `Client.events`."""
        following = Following(id, after=after)
        timeout = connection.timeout(SILENCE_SECONDS)
        while not following.has_ended:
            try:
                async with self._http.sse(following.path, headers=following.headers(), timeout=timeout) as stream:
                    if not stream.response.is_success:
                        await stream.response.aread()
                    if following.accept(stream.response):
                        async for sent in stream:
                            if event := following.take(sent):
                                yield event
                            if following.has_ended:
                                return
            except httpx2.TransportError:
                pass  # the next lines ask for the job, with retries, before another stream is opened
            if not following.has_ended:
                if event := following.after_stream(await self._run(calls.get(id))):
                    yield event
                await anyio.sleep(following.pause_seconds)

    async def _run(self, call: Call[T]) -> T:
        tries = answers.Tries(self._retry_seconds)
        while True:
            try:
                response = await self._http.request(**connection.request(call))
                pause = tries.pause_after(call, response)
            except httpx2.TransportError as error:
                pause = tries.pause_after_error(call, error)
            else:
                if pause is None:
                    return answers.read(call, response)
            await anyio.sleep(pause)

    async def _iterate(self, call: Call[JobPage]) -> AsyncIterator[JobView]:
        page = await self._run(call)
        for job in page.jobs:
            yield job
        while page.next:
            page = await self._run(call.with_query(cursor=page.next))
            for job in page.jobs:
                yield job

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
