"""Keys are looked up seldom, forgotten in time, and a flood of wrong ones costs nobody else."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from longhaul.errors import LedgerUnavailable, Unauthenticated
from longhaul.ledger.keys import ApiKey
from longhaul_api import auth
from longhaul_api.auth import KeyAuth

pytestmark = pytest.mark.anyio


class Ledger:
    """Knows the key `right` until it is revoked, and can be away."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.revoked = False
        self.away = False

    async def find(self, key: str) -> ApiKey | None:
        self.asked.append(key)
        if self.away:
            raise LedgerUnavailable
        known = key == "right" and not self.revoked
        return ApiKey(id="1", name="Ada", tenant="acme", scopes=frozenset({"read"})) if known else None


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def request(key: str) -> Request:
    return Request({"type": "http", "method": "GET", "headers": [(b"authorization", f"Bearer {key}".encode())]})


async def test_a_key_is_asked_for_once_and_again_when_it_is_old() -> None:
    ledger, clock = Ledger(), Clock()
    keys = KeyAuth(ledger.find, cache_seconds=10, clock=clock)
    assert (await keys.authenticate(request("right"))).tenant == "acme"
    ledger.revoked = True
    clock.now = 9.9
    assert (await keys.authenticate(request("right"))).name == "Ada"
    assert ledger.asked == ["right"]
    clock.now = 10.0
    for _ in range(2):
        with pytest.raises(Unauthenticated, match="unknown or was revoked"):
            await keys.authenticate(request("right"))
    assert ledger.asked == ["right", "right"]


async def test_an_answer_that_did_not_come_is_not_remembered() -> None:
    ledger = Ledger()
    keys = KeyAuth(ledger.find, cache_seconds=10, clock=Clock())
    ledger.away = True
    with pytest.raises(LedgerUnavailable):
        await keys.authenticate(request("right"))
    ledger.away = False
    assert (await keys.authenticate(request("right"))).scopes == {"read"}


async def test_a_flood_of_wrong_keys_pushes_out_no_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_CACHED_KEYS", 10)
    ledger = Ledger()
    keys = KeyAuth(ledger.find, cache_seconds=10, clock=Clock())
    await keys.authenticate(request("right"))
    for number in range(50):
        with pytest.raises(Unauthenticated):
            await keys.authenticate(request(f"wrong{number}"))
    await keys.authenticate(request("right"))
    assert ledger.asked.count("right") == 1
    assert len(keys._wrong) == 10
