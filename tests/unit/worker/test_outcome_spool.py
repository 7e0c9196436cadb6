"""Outcomes on disk."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from longhaul.errors import ConfigurationError
from longhaul.ids import new_job_id
from longhaul.ledger.leases import AttemptEnd, Lease
from longhaul.results import StoredResult
from longhaul.states import Ending, State, Transition
from longhaul_worker.outcome_spool import OutcomeSpool


def an_end(epoch: int = 3) -> AttemptEnd:
    return AttemptEnd(
        lease=Lease(job_id=new_job_id(), epoch=epoch),
        ending=Ending.TRANSIENT,
        transition=Transition(state=State.QUEUED, event="retrying", retries_used=1, delay_seconds=2.5),
        error={"code": "retryable", "message": "später"},
        evidence={"peak_memory_bytes": 1},
        checkpoint='{"step": 4}',
    )


def test_what_was_saved_is_loaded_as_it_was(tmp_path: Path) -> None:
    stored = StoredResult(key="results/default/1.json", size_bytes=3, sha256="ab")
    ends = [an_end(), replace(an_end(), stored=stored)]
    spool = OutcomeSpool(tmp_path / "spool")
    for end in ends:
        spool.save(end)
    loaded = OutcomeSpool(tmp_path / "spool").load()
    assert sorted(loaded, key=lambda end: end.lease.job_id) == sorted(ends, key=lambda end: end.lease.job_id)
    spool.delete(ends[0].lease)
    assert OutcomeSpool(tmp_path / "spool").load() == [ends[1]]


def test_an_outcome_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that crashes leaves either no outcome or a whole one: what the keeper reads back was synced before."""
    synced: dict[int, bytes] = {}
    fsync = os.fsync

    def note(descriptor: int) -> None:
        fsync(descriptor)
        assert list(tmp_path.glob("*.json")) == []
        synced[os.fstat(descriptor).st_ino] = Path(f"/proc/self/fd/{descriptor}").read_bytes()

    monkeypatch.setattr(os, "fsync", note)
    end = an_end()
    OutcomeSpool(tmp_path).save(end)
    (path,) = tmp_path.glob("*.json")
    assert synced == {path.stat().st_ino: path.read_bytes()}
    assert OutcomeSpool(tmp_path).load() == [end]


def test_the_folder_is_private(tmp_path: Path) -> None:
    OutcomeSpool(tmp_path / "spool")
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", ['{"lease": ', "{}", "[1]", "null", '{"lease":{},"transition":{}}', "\x00"])
def test_a_file_that_can_not_be_read_is_put_aside(tmp_path: Path, content: str) -> None:
    (tmp_path / "broken.json").write_text(content)
    assert OutcomeSpool(tmp_path).load() == []
    assert [path.name for path in tmp_path.iterdir()] == ["broken.refused"]
    assert (tmp_path / "broken.refused").read_text() == content
    assert OutcomeSpool(tmp_path).load() == []


def test_an_outcome_that_the_ledger_refuses_is_put_aside(tmp_path: Path) -> None:
    spool, end = OutcomeSpool(tmp_path), an_end()
    spool.save(end)
    spool.quarantine(end.lease)
    assert spool.load() == []
    assert [path.suffix for path in tmp_path.iterdir()] == [".refused"]


def test_a_write_that_failed_leaves_nothing_on_a_full_disk(tmp_path: Path) -> None:
    end = replace(an_end(), evidence={"odd": object()})
    OutcomeSpool(tmp_path).save(end)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_file_stands_in_nobodys_way(tmp_path: Path) -> None:
    spool = OutcomeSpool(tmp_path)
    end = an_end()
    spool.save(end)
    (tmp_path / "broken.json").write_text('{"lease": ')
    (tmp_path / "other.json").write_text("{}")
    assert spool.load() == [end]
    assert (tmp_path / "broken.refused").exists()


def test_a_folder_that_can_not_be_made_is_refused_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="LONGHAUL_SPOOL_DIR"):
        OutcomeSpool(tmp_path / "file" / "spool")
