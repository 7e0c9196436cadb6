"""API keys: shown once, kept as a hash, taken back at once."""

from __future__ import annotations

import hashlib

import psycopg
import pytest

from longhaul.ledger import keys
from longhaul.ledger.connection import Connection

pytestmark = pytest.mark.anyio


async def test_a_key_says_whom_it_stands_for(connection: Connection) -> None:
    key = await keys.create(connection, name="ci", tenant="acme", scopes=["submit", "read"])
    found = await keys.find(connection, key)
    assert found is not None
    assert (found.name, found.tenant, found.scopes) == ("ci", "acme", frozenset({"submit", "read"}))
    assert key.startswith(f"lh_{found.id}_")


async def test_the_ledger_keeps_only_the_secrets_hash(connection: Connection, database_url: str) -> None:
    key = await keys.create(connection, name="ci", tenant="acme", scopes=["admin"])
    secret = key.split("_")[2]
    assert len(bytes.fromhex(secret)) == 32
    with psycopg.connect(database_url) as raw:
        (stored,) = raw.execute("SELECT api_keys::text, secret_sha256 FROM api_keys").fetchall()
    assert secret not in stored[0]
    assert bytes(stored[1]) == hashlib.sha256(secret.encode()).digest()
    (listed,) = await keys.list_keys(connection)
    assert set(listed) == {"id", "name", "tenant", "scopes", "created_at", "revoked_at"}


async def test_a_revoked_key_is_worth_nothing_and_stays_listed(connection: Connection) -> None:
    key = await keys.create(connection, name="ci", tenant="acme", scopes=["read"])
    other = await keys.create(connection, name="other", tenant="acme", scopes=["read"])
    found = await keys.find(connection, key)
    assert found is not None
    assert await keys.revoke(connection, found.id)
    assert not await keys.revoke(connection, found.id)
    assert not await keys.revoke(connection, "unknown")
    assert await keys.find(connection, key) is None
    assert await keys.find(connection, other) is not None
    assert [one["revoked_at"] is not None for one in await keys.list_keys(connection)] == [True, False]


async def test_what_is_no_key_is_nobody(connection: Connection) -> None:
    key = await keys.create(connection, name="ci", tenant="acme", scopes=["read"])
    prefix, id, secret = key.split("_")
    other = "0" * len(secret)
    wrong = ["", "lh", key[:-1], key + "0", f"xx_{id}_{secret}", f"{prefix}_{id}_{other}", f"{prefix}_000_{secret}"]
    wrong += [f"{prefix}_{id}_", f"{key}_", f"{key}\0", f"{prefix}_\0_{secret}", f"{prefix}_ü_{secret}", secret.upper()]
    assert [one for one in wrong if await keys.find(connection, one)] == []


async def test_no_two_keys_are_equal(connection: Connection) -> None:
    made = [await keys.create(connection, name="ci", tenant="acme", scopes=["read"]) for _ in range(50)]
    assert len(set(made)) == 50
