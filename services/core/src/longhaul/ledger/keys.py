"""API keys: `lh_<id>_<secret>`. The ledger keeps the secret's SHA-256 only.

A plain hash is enough here: the secret is 256 random bits, so there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from longhaul.ledger.connection import Connection

SCOPES = ("submit", "read", "admin")


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """Whom a key stands for."""

    id: str
    name: str
    tenant: str
    scopes: frozenset[str]


async def create(connection: Connection, *, name: str, tenant: str, scopes: Sequence[str]) -> str:
    """Make a key and return it: it can't be read again."""
    id, secret = secrets.token_hex(6), secrets.token_hex(32)
    await connection.execute(
        "INSERT INTO api_keys (id, name, tenant, scopes, secret_sha256) VALUES (%s, %s, %s, %s, %s)",
        (id, name, tenant, list(scopes), hashlib.sha256(secret.encode()).digest()),
    )
    return f"lh_{id}_{secret}"


async def find(connection: Connection, key: str) -> ApiKey | None:
    """Whom this key stands for; None where it is malformed, unknown or revoked."""
    parts = key.split("_")
    if len(parts) != 3 or parts[0] != "lh" or not key.isascii() or "\0" in key:
        return None
    cursor = await connection.execute(
        "SELECT id, name, tenant, scopes, secret_sha256 FROM api_keys WHERE id = %s AND revoked_at IS NULL", (parts[1],)
    )
    row = await cursor.fetchone()
    given = hashlib.sha256(parts[2].encode()).digest()
    if row is None or not hmac.compare_digest(row["secret_sha256"], given):
        return None
    return ApiKey(id=row["id"], name=row["name"], tenant=row["tenant"], scopes=frozenset(row["scopes"]))


async def revoke(connection: Connection, id: str) -> bool:
    """Take a key back. False where there is none that is valid."""
    cursor = await connection.execute(
        "UPDATE api_keys SET revoked_at = now() WHERE id = %s AND revoked_at IS NULL", (id,)
    )
    return cursor.rowcount == 1


async def list_keys(connection: Connection) -> list[dict[str, Any]]:
    """All keys, without their secrets."""
    cursor = await connection.execute(
        "SELECT id, name, tenant, scopes, created_at, revoked_at FROM api_keys ORDER BY created_at"
    )
    return await cursor.fetchall()
