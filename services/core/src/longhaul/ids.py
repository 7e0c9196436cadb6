"""Ids of jobs: UUIDs of version 7 (RFC 9562), which sort by time, so that the ledger's indexes grow at one end."""

from __future__ import annotations

import os
import time
from uuid import UUID


def new_job_id() -> UUID:
    """48 bits of Unix milliseconds, then 74 random bits: nobody guesses another's id."""
    value = int.from_bytes((time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10), "big")
    value = value & ~(0xF << 76) | (0x7 << 76)  # version 7
    value = value & ~(0x3 << 62) | (0x2 << 62)  # the variant of RFC 9562
    return UUID(int=value)
