"""Secrets of webhooks: one a tenant, made from the installation's own, so that none can sign for another."""

from __future__ import annotations

import base64
import hashlib
import hmac


def split_secrets(text: str) -> list[str]:
    """The installation's secrets, the newest first: two of them, parted by a comma, while they change."""
    return [one.strip() for one in text.split(",") if one.strip()]


def tenant_secret(secret: str, tenant: str) -> str:
    """What this tenant's receivers verify with, as Standard Webhooks writes it: `whsec_` and 32 bytes in base64."""
    key = hmac.digest(secret.encode(), b"longhaul webhooks of " + tenant.encode(), hashlib.sha256)
    return f"whsec_{base64.b64encode(key).decode()}"
