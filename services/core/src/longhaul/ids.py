"""Ids of jobs: UUIDs of version 7 (RFC 9562), which sort by time, so that the ledger's indexes grow at one end."""

from __future__ import annotations

import os
import time
from uuid import UUID


def new_job_id() -> UUID:
    """48 bits of Unix milliseconds, 12 bits of their fraction, then 62 random bits: nobody guesses another's id.

    The fraction (244 ns; section 6.2, method 3) keeps the jobs of one batch in their order.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    value = milliseconds << 80 | (nanoseconds << 12) // 1_000_000 << 64 | int.from_bytes(os.urandom(8), "big") >> 2
    return UUID(int=value | 0x7 << 76 | 0x2 << 62)  # the version, and the variant of RFC 9562
