"""Outcomes on disk while the database is away, so that a keeper's restart throws no finished hour away."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from uuid import UUID

import orjson
import structlog

from longhaul.errors import ConfigurationError
from longhaul.ledger.leases import AttemptEnd, Lease
from longhaul.results import StoredResult
from longhaul.states import Ending, State, Transition

_log = structlog.get_logger(__name__)


class OutcomeSpool:
    """One file an outcome, named for its job and epoch. Writing is atomic. A file that can't be read, or whose outcome the
    ledger refuses, is put aside as `*.refused`, for people: nothing reads it again."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"LONGHAUL_SPOOL_DIR: {folder} can't be made ({error.strerror}).") from error
        self._folder = folder

    def save(self, end: AttemptEnd) -> None:
        """Keep an outcome, once. A full disk is logged: the outcome is still in memory."""
        path = self._path(end.lease)
        if path.exists():
            return
        unfinished = path.with_suffix(".tmp")
        try:
            with unfinished.open("wb") as file:
                file.write(orjson.dumps(asdict(end)))
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except (OSError, TypeError, ValueError) as error:
            unfinished.unlink(missing_ok=True)
            _log.error("spool_failed", job_id=str(end.lease.job_id), epoch=end.lease.epoch, error=str(error))

    def delete(self, lease: Lease) -> None:
        """Forget an outcome: it is committed, or another attempt owns the job."""
        try:
            self._path(lease).unlink(missing_ok=True)
        except OSError as error:  # then it is offered again, and refused by its epoch
            _log.error("spool_failed", job_id=str(lease.job_id), epoch=lease.epoch, error=str(error))

    def quarantine(self, lease: Lease) -> None:
        """Put an outcome aside that the ledger refuses, if it is here."""
        self._put_aside(self._path(lease), "the ledger refuses it")

    def load(self) -> list[AttemptEnd]:
        """The outcomes that an earlier keeper left."""
        ends = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                ends.append(_parse(orjson.loads(path.read_bytes())))
            except OSError as error:
                _log.error("spool_file_unreadable", path=str(path), error=str(error))
            except Exception as error:  # noqa: BLE001 - whatever stands in it, the keeper must start
                self._put_aside(path, f"{type(error).__name__}: {error}")
        return ends

    def _put_aside(self, path: Path, reason: str) -> None:
        if not path.exists():
            return
        aside = path.with_suffix(".refused")
        try:
            path.replace(aside)
        except OSError as error:
            reason = f"{reason}; and it can't be renamed: {error}"
        _log.error("outcome_put_aside", path=str(aside), reason=reason)

    def _path(self, lease: Lease) -> Path:
        return self._folder / f"{lease.job_id}-{lease.epoch}.json"


def _parse(value: dict[str, object]) -> AttemptEnd:
    lease, transition = value.pop("lease"), value.pop("transition")
    assert isinstance(lease, dict)
    assert isinstance(transition, dict)
    stored = value.pop("stored", None)
    assert isinstance(stored, dict | None)
    fields: dict[str, object] = {
        **value,
        "stored": stored and StoredResult(**stored),
        "lease": Lease(job_id=UUID(lease["job_id"]), epoch=lease["epoch"]),
        "transition": Transition(**{**transition, "state": State(transition["state"])}),
        "ending": Ending(str(value["ending"])),
    }
    return AttemptEnd(**fields)  # type: ignore[arg-type]  # the fields are those that `save` wrote
