"""The result store: object storage for results that are too large for a row (a claim check).

Keepers write, the API reads, the controller deletes. An object's key holds its job and epoch, and only the row that an end
was committed to says which object is the job's result: what a stale or killed attempt left behind is never seen.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import UUID

import structlog

from longhaul.errors import ConfigurationError, ResultGone, ResultStoreUnavailable

if TYPE_CHECKING:
    from obstore import Bytes
    from obstore.store import ObjectStore

PREFIX = "results/"
CHUNK_BYTES = 1024 * 1024
"""What a reader holds of a result at a time. Each chunk is a request of its own, so that a slow client holds none open."""
_KEYS_AT_ONCE = 1000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class StoredResult:
    """Where a result is, and how to tell that it is the one that was written: what a row holds."""

    key: str
    size_bytes: int
    sha256: str
    """In hexadecimal."""


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """What lies in the store, whether a row refers to it or not."""

    key: str
    job_id: UUID
    epoch: int
    written_at: datetime
    """By the store's clock."""


class ResultStore:
    """One bucket (or folder) of one installation, as obstore names it. To make this needs no network.

    Raises ConfigurationError where the URL or an option can't be right.
    """

    def __init__(self, url: str, options: Mapping[str, str] | None = None, *, timeout_seconds: float = 30.0) -> None:
        self._url = url
        self._options = dict(options or {})
        self._timeout_seconds = timeout_seconds
        self._opened: ObjectStore | None = None
        if not url.startswith("file:"):  # a folder may be on a disk that comes later
            self._opened = self._open()

    async def put(self, result: bytes, *, tenant: str, job_id: UUID, epoch: int) -> StoredResult:
        """Write a result (JSON text), whole or not at all. Raises ResultStoreUnavailable."""
        import obstore

        key = f"{PREFIX}{quote(tenant, safe='')}/{job_id}/{epoch}.json"
        digest = await asyncio.to_thread(
            hashlib.sha256, result
        )  # 64 MiB take 50 ms, which a lease's renewal waited for
        try:
            async with self._asking():
                # In one request: the parts of an unfinished upload would stay in the bucket, unseen.
                await obstore.put_async(self._store, key, result, use_multipart=False)
        except FileNotFoundError:  # its bucket, or a folder that was just removed because it was empty
            raise ResultStoreUnavailable from None
        return StoredResult(key=key, size_bytes=len(result), sha256=digest.hexdigest())

    async def read(self, stored: StoredResult) -> AsyncIterator[bytes]:
        """A result in chunks. Raises ResultGone where it is not there, and ResultStoreUnavailable.

        The chunks may raise the same: only their end shows that all of them were what was written.
        """
        return self._chunks(stored, await self._chunk(stored, 0))

    async def _chunks(self, stored: StoredResult, first: Bytes) -> AsyncIterator[bytes]:
        digest, chunk, end = hashlib.sha256(), first, 0
        while True:
            digest.update(chunk)
            end += len(chunk)
            if end == stored.size_bytes:
                break
            yield bytes(chunk)
            chunk = await self._chunk(stored, end)
        if digest.hexdigest() != stored.sha256:
            _log.error("result_altered", key=stored.key)
            raise ResultGone
        yield bytes(chunk)

    async def _chunk(self, stored: StoredResult, start: int) -> Bytes:
        import obstore

        end = min(start + CHUNK_BYTES, stored.size_bytes)
        try:
            async with self._asking():
                chunk = await obstore.get_range_async(self._store, stored.key, start=start, end=end)
        except FileNotFoundError:
            raise ResultGone from None
        if len(chunk) != end - start:
            _log.error("result_altered", key=stored.key)
            raise ResultGone
        return chunk

    async def objects(self) -> AsyncIterator[list[StoredObject]]:
        """All that is in the store, in pages. Raises ResultStoreUnavailable."""
        import obstore

        pages = aiter(obstore.list(self._store, PREFIX, chunk_size=_KEYS_AT_ONCE))
        while True:
            try:
                async with self._asking():
                    page = await anext(pages)
            except (StopAsyncIteration, FileNotFoundError):
                return
            found = (_parse(one["path"], one["last_modified"]) for one in page)
            yield [one for one in found if one is not None]

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete results; it is no error where one is gone already. Raises ResultStoreUnavailable."""
        import obstore

        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = keys[start : start + _KEYS_AT_ONCE]
            try:
                async with self._asking():
                    await obstore.delete_async(self._store, some)
            except FileNotFoundError:  # a folder says so, and stops there
                for key in some:
                    with suppress(FileNotFoundError):
                        async with self._asking():
                            await obstore.delete_async(self._store, key)

    @property
    def _store(self) -> ObjectStore:
        if self._opened is None:
            try:
                self._opened = self._open()
            except OSError as error:
                _log.warning("result_store_failed", error=_first_line(error))
                raise ResultStoreUnavailable from None
        return self._opened

    def _open(self) -> ObjectStore:
        # Here, since it takes 15 MiB and 30 ms, and most installations of a client need none of it.
        from obstore.exceptions import BaseError
        from obstore.store import LocalStore, from_url

        if self._url.startswith("file:"):
            return LocalStore.from_url(self._url, mkdir=True, automatic_cleanup=True)
        timeout = timedelta(seconds=self._timeout_seconds)
        is_plain = any(value.startswith("http://") for value in self._options.values())
        try:
            store: ObjectStore = from_url(
                self._url,
                config=self._options,  # type: ignore[call-overload]  # each cloud's keys have a type of their own
                client_options={"timeout": timeout, "allow_http": is_plain},
                retry_config={"max_retries": 2, "retry_timeout": timeout},
            )
        except (BaseError, ValueError) as error:
            raise ConfigurationError(
                f"LONGHAUL_RESULT_STORE_URL and LONGHAUL_RESULT_STORE_OPTIONS name no store: {_first_line(error)}"
            ) from None
        else:
            return store

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """A request to the store, within its time. An object that is not there is a FileNotFoundError."""
        from obstore.exceptions import BaseError

        try:
            async with asyncio.timeout(self._timeout_seconds):
                yield
        except FileNotFoundError:
            raise
        except (BaseError, OSError, TimeoutError) as error:
            # Logged, not answered: it names hosts and folders.
            _log.warning("result_store_failed", error=_first_line(error))
            raise ResultStoreUnavailable from None


def _parse(key: str, written_at: datetime) -> StoredObject | None:
    """None for what no keeper wrote."""
    try:
        _, _, job_id, name = key.split("/")
        epoch = int(name.removesuffix(".json"))
        return StoredObject(key=key, job_id=UUID(job_id), epoch=epoch, written_at=written_at)
    except ValueError:
        return None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
