"""The main job, killed three times on its way, ends as if nothing had happened."""

from __future__ import annotations

import signal
from pathlib import Path
from uuid import UUID

import pytest
from tests.pods import Platform, platform

pytestmark = pytest.mark.anyio

FILES, FILES_PER_STEP = 120, 4
WORDS = [
    "ledger",
    "lease",
    "epoch",
    "doorbell",
    "keeper",
    "queue",
    "retry",
    "backoff",
    "jitter",
    "checkpoint",
    "drain",
    "worker",
    "scaler",
    "demand",
]


def write_corpus(folder: Path) -> None:
    """Text that is the same at each call: 120 files of 60 lines."""
    folder.mkdir()
    for number in range(FILES):
        lines = [
            " ".join(WORDS[(number * 7 + line * 3 + word) % len(WORDS)] for word in range(8)) for line in range(60)
        ]
        (folder / f"{number:03}.md").write_text("\n".join(lines))


def params(corpus: Path, index: Path) -> dict[str, object]:
    return {
        "folders": [str(corpus)],
        "index_folder": str(index),
        "files_per_step": FILES_PER_STEP,
        "step_delay_seconds": 0.15,
        "query": "retry with backoff",
    }


async def test_the_main_job_killed_three_times_gives_the_same_result(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """kill -9 of the child, of the keeper, of everything; only what came after the last checkpoint is done again."""
    corpus = tmp_path / "corpus"
    write_corpus(corpus)
    settings = {"LONGHAUL_TASKS": "longhaul_examples.documents", "LONGHAUL_QUEUES": "documents"}
    with platform(database_url, redis_url, tmp_path, **settings) as here:
        controller = here.start_controller()
        worker = here.start_worker()
        undisturbed = await here.submit("documents.index", params(corpus, tmp_path / "undisturbed"))
        expected = (await here.wait_state(undisturbed, "succeeded", timeout_seconds=60))["result"]

        job_id = await here.submit("documents.index", params(corpus, tmp_path / "disturbed"))
        await here.wait_event(job_id, "checkpoint", count=5)
        for child in worker.celery().children():
            child.kill()

        await here.wait_event(job_id, "started", count=2)
        await here.wait_event(job_id, "checkpoint", count=12)
        worker.send(signal.SIGKILL)
        worker = here.start_worker()

        await here.wait_event(job_id, "started", count=3)
        await here.wait_event(job_id, "checkpoint", count=20)
        worker.send_all(signal.SIGKILL)
        controller.send(signal.SIGKILL)
        here.start_controller()
        here.start_worker()

        job = await here.wait_state(job_id, "succeeded", timeout_seconds=60)
        assert job["result"] == expected
        assert (job["attempt"], job["interruptions"]) == (4, 3)
        await assert_nothing_was_redone(here, job_id)


async def assert_nothing_was_redone(here: Platform, job_id: UUID) -> None:
    """Each attempt resumes where the checkpoints of those before it end: one step at the most is done twice."""
    history = await here.history(job_id)
    saved = 0
    resumed = 0
    for event in history:
        if event["type"] == "checkpoint":
            saved += 1
        elif event["type"] == "log" and event["data"]["message"] == "Resuming.":
            resumed += 1
            # The first checkpoint is the listing's.
            assert event["data"]["fields"]["segments_read"] >= saved - 1
            assert event["data"]["fields"]["segments_lost"] == 0
    assert resumed == 3
    steps = 1 + FILES // FILES_PER_STEP + 1 + -(-FILES // FILES_PER_STEP // 16)
    assert saved == steps
