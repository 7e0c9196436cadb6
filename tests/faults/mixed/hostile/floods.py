"""Too much of everything, and what tasks write that is no report: `print`, `logging`, structlog."""

from __future__ import annotations

import logging
import os
import sys
import time

import structlog
from tests.faults.mixed.hostile.acts import act
from tests.faults.mixed.hostile.kinds import OUTPUTS
from tests.faults.mixed.working import Working

LINES = 1500
"""More than may wait for the database."""
OUTPUT_LINES = 5000
BIG_LINES, BIG_BYTES = 6, 1_000_000
PROGRESS_SECONDS = 0.5


@act("flood.lines")
def lines(work: Working) -> None:
    for _ in range(LINES):
        work.log()


@act("flood.big_lines")
def big_lines(work: Working) -> None:
    for number in range(BIG_LINES):
        work.job.log(f"{work.payload.stamp} {number} " + "x" * BIG_BYTES)


@act("flood.output")
def output(work: Working) -> None:
    for number in range(OUTPUT_LINES):
        print(work.payload.output(number))
    sys.stderr.write(work.payload.stamp + "x" * BIG_BYTES)


@act("flood.progress")
def progress(work: Working) -> None:
    until = time.monotonic() + PROGRESS_SECONDS
    while time.monotonic() < until:
        work.advance()
        work.report()


@act("output.captured")
def captured(work: Working) -> None:
    """Writes as code does that knows nothing of Longhaul."""
    texts = [work.payload.output(number) for number in range(OUTPUTS)]
    print(texts[0])
    sys.stdout.write(texts[1] + "\n")
    logging.getLogger("some.library").warning(texts[2])
    structlog.get_logger().warning(texts[3])


@act("output.closed")
def closed(work: Working) -> None:
    """Closes its output, as daemons do."""
    work.log()
    os.close(1)
    os.close(2)
