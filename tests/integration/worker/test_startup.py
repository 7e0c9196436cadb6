"""How a worker pod starts, and how its tasks are registered, with and without servers to speak to."""

from __future__ import annotations

import re
import signal
import sys
import time
from pathlib import Path

import pytest
from tests.pods import Platform, Process, Worker, free_port, platform
from tests.waiting import wait_for

from longhaul.ledger import catalogue, queues
from longhaul.ledger.schema import migrate

pytestmark = pytest.mark.anyio


def has_started(worker: Worker) -> bool:
    answer = worker.probe("/startupz")
    return answer is not None and answer.status_code == 200


def test_a_pod_starts_while_both_servers_are_away(tmp_path: Path) -> None:
    """F15 and F22: its startup probe must not restart it, again and again, until they are back."""
    nowhere = f"127.0.0.1:{free_port()}"
    with platform(f"postgresql://user:pass@{nowhere}/longhaul", f"redis://{nowhere}/0", tmp_path) as here:
        worker = here.launch_worker(LONGHAUL_PULSE_SECONDS="4")
        wait_for(lambda: has_started(worker), timeout_seconds=30, what="it has started")
        started_at = time.monotonic()

        def waits() -> bool:
            live, ready = worker.probe("/livez"), worker.probe("/readyz")
            assert live is not None
            assert live.status_code == 200, live.text
            assert ready is not None
            assert ready.status_code == 503
            return time.monotonic() - started_at > 8

        wait_for(waits, timeout_seconds=15, what="it stays live, and not ready")


def test_it_has_not_started_before_celery_has(database_url: str, redis_url: str, tmp_path: Path) -> None:
    with platform(database_url, redis_url, tmp_path) as here:
        worker = here.launch_worker()
        answers: set[int] = set()

        def is_ready() -> bool:
            ready, startup = worker.probe("/readyz"), worker.probe("/startupz")
            if startup is None or ready is None:
                return False
            answers.add(startup.status_code)
            assert not (startup.status_code == 503 and ready.status_code == 200)
            return ready.status_code == 200

        wait_for(is_ready, timeout_seconds=30, what="it is ready")
        assert answers == {503, 200}


def test_a_pod_that_must_go_while_it_starts_goes(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """As the image starts it, since process 1 of a container never gets a signal that comes before its handler."""
    program = Path(sys.executable).with_name("longhaul-worker")
    with platform(database_url, redis_url, tmp_path) as here:
        settings = {"LONGHAUL_PROBE_PORT": str(free_port()), "LONGHAUL_SPOOL_DIR": str(tmp_path / "spool")}
        process = Process(
            *("/usr/bin/env", "--block-signal=TERM", str(program)),
            environment={**here.environment, **settings},
            log=tmp_path / "keeper.log",
        )
        try:
            wait_for(lambda: signal.SIGTERM in blocked(process), what="SIGTERM is blocked")
            process.send(signal.SIGTERM)
            assert process.wait_exit(20) == 0
        finally:
            process.end()
        assert "drain_ended" in process.log


def blocked(process: Process) -> set[int]:
    """The signals that it does not get now."""
    (mask,) = re.findall(r"^SigBlk:\s+(\w+)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    return {number for number in range(1, 65) if int(mask, 16) >> number - 1 & 1}


def register(here: Platform, tmp_path: Path, **environment: str) -> Process:
    return Process(
        "longhaul-worker", "register", environment={**here.environment, **environment}, log=tmp_path / "register.log"
    )


async def test_registration_waits_for_the_schema(empty_database_url: str, redis_url: str, tmp_path: Path) -> None:
    with platform(empty_database_url, redis_url, tmp_path) as here:
        process = register(here, tmp_path)
        wait_for(lambda: "register_waits" in process.log, timeout_seconds=20, what="it waits")
        migrate(empty_database_url)
        assert process.wait_exit(10) == 0
        async with await here.connect() as connection:
            assert "demo.sleep" in await catalogue.read(connection)


async def test_registration_makes_queues_known(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """A pool that starts from zero pods has nobody else to do it."""
    with platform(database_url, redis_url, tmp_path) as here:
        process = register(here, tmp_path, LONGHAUL_QUEUES="batch,night")
        assert process.wait_exit(20) == 0
        async with await here.connect() as connection:
            assert {"batch", "night"} <= await queues.read_names(connection)


def test_registration_gives_up_with_a_sentence(empty_database_url: str, redis_url: str, tmp_path: Path) -> None:
    with platform(empty_database_url, redis_url, tmp_path) as here:
        process = register(here, tmp_path, LONGHAUL_REGISTER_WAIT_SECONDS="1.5")
        assert process.wait_exit(20) == 2
        last = process.log.strip().splitlines()[-1]
        assert last.startswith("The database's schema is at nothing, and this version needs")
        assert last.endswith("run `longhaul migrate`. No task was registered in 1.5 s.")


def test_registration_without_a_database_says_so(redis_url: str, tmp_path: Path) -> None:
    with platform(f"postgresql://user:pass@127.0.0.1:{free_port()}/none", redis_url, tmp_path) as here:
        process = register(here, tmp_path, LONGHAUL_REGISTER_WAIT_SECONDS="0")
        assert process.wait_exit(20) == 2
        assert process.log.strip().splitlines()[-1].startswith("The database can't be reached: see that it runs")
