"""Who asks, and what they may do.

An `Authenticator` turns a request into a `Principal`. There are two: `NoAuth` for one's own machine, `KeyAuth` for API
keys. OIDC will be a third, that reads the same bearer token.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from longhaul.errors import Forbidden, Unauthenticated
from longhaul.ledger.keys import SCOPES, ApiKey
from longhaul_api.settings import is_loopback

Scope = Literal["submit", "read", "admin"]
_CACHED_KEYS = 4096
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks."""

    tenant: str
    name: str
    scopes: frozenset[str]

    def require(self, scope: Scope) -> None:
        """Raises Forbidden without this scope. An administrator has all of them, within the own tenant."""
        if scope not in self.scopes and "admin" not in self.scopes:
            raise Forbidden(f"This needs a key with the scope {scope!r}: ask an administrator for one.", required=scope)


class Authenticator(Protocol):
    async def authenticate(self, connection: HTTPConnection) -> Principal:
        """Raises Unauthenticated, Forbidden, or LedgerUnavailable."""
        ...


class NoAuth:
    """Everyone is the same person. Only for an address that nobody else reaches.

    Browsers reach it too, so pages of other sites are kept out. `loopback_only`: requests must be addressed to this
    machine by a name of its own, since a site can make its own name lead here (DNS rebinding).
    """

    def __init__(self, *, loopback_only: bool) -> None:
        self._loopback_only = loopback_only
        self._everyone = Principal("default", "anonymous", frozenset(SCOPES))

    async def authenticate(self, connection: HTTPConnection) -> Principal:
        """Raises Forbidden where a page of another site sends its reader's browser here."""
        scope = connection.scope
        if self._loopback_only and not _leads_here(connection.headers.get("host", "")):
            raise Forbidden(
                "Without keys this API answers to 127.0.0.1 and localhost only: use that address, turn keys on, or set "
                "LONGHAUL_AUTH_NONE_ANYWHERE=true."
            )
        if scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS:
            headers = connection.headers
            origin = headers.get("origin")
            if origin is not None and origin.partition("://")[2] != headers.get("host"):
                raise Forbidden("Pages of other sites may not use this API: open its own page, or turn keys on.")
        return self._everyone


class KeyAuth:
    """API keys, looked up in the ledger and remembered for a short while, the wrong ones too."""

    def __init__(
        self,
        find: Callable[[str], Awaitable[ApiKey | None]],
        *,
        cache_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._cache_seconds = cache_seconds
        self._clock = clock
        # Apart, so that a flood of wrong keys pushes out no right one.
        self._known: dict[bytes, tuple[float, Principal | None]] = {}
        self._wrong: dict[bytes, tuple[float, Principal | None]] = {}

    async def authenticate(self, connection: HTTPConnection) -> Principal:
        key = bearer_token(connection)
        if key is None:
            raise Unauthenticated
        digest = hashlib.sha256(key.encode()).digest()
        now = self._clock()
        expires, principal = self._known.get(digest) or self._wrong.get(digest) or (now, None)
        if expires <= now:
            principal = await self._look_up(key)
            self._remember(digest, now + self._cache_seconds, principal)
        if principal is None:
            raise Unauthenticated("This key is unknown or was revoked: ask an administrator for a new one.")
        return principal

    async def _look_up(self, key: str) -> Principal | None:
        found = await self._find(key)
        return Principal(found.tenant, found.name, found.scopes) if found else None

    def _remember(self, digest: bytes, expires: float, principal: Principal | None) -> None:
        self._known.pop(digest, None)
        self._wrong.pop(digest, None)
        cache = self._known if principal else self._wrong
        cache[digest] = (expires, principal)
        if len(cache) > _CACHED_KEYS:
            del cache[next(iter(cache))]


@lru_cache(maxsize=64)  # it is the same one with nearly every request
def _leads_here(host: str) -> bool:
    """Whether a request that is addressed so means this machine, whatever the port."""
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def bearer_token(connection: HTTPConnection) -> str | None:
    """The key of `Authorization: Bearer`; of `?access_token=` for a WebSocket, where browsers can't set headers."""
    kind, _, token = connection.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return token.strip()
    if connection.scope["type"] == "websocket":
        return connection.query_params.get("access_token") or None
    return None
