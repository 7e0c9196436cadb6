"""`documents.index`: a searchable vector index of folders of text files, and the answer to a query."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longhaul import Cancelled, Job, Permanent, task
from longhaul_examples.listing import (
    ListedFile,
    Listing,
    Reason,
    default_folders,
    listing_digest,
    read_listing,
    write_listing,
)
from longhaul_examples.segments import Segment
from longhaul_examples.terms import TermColumns
from longhaul_examples.vector_index import Match, Totals, VectorIndex, search

_SEGMENTS_PER_WEIGHING = 16
_INDEXES_KEPT_IN_CACHE = 4
_LISTED, _READ, _COUNTED, _WEIGHED = 0.01, 0.92, 0.95, 0.99
"""How far each phase brings the job, as measured on the sources of a Python environment."""


class IndexParams(BaseModel):
    model_config = ConfigDict(extra="forbid")

    folders: list[str] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Folders that the worker can read. Default: the project's docs and the installed Python packages.",
    )
    query: str = Field("retry with exponential backoff and jitter", min_length=1, max_length=10_000)
    top: int = Field(5, ge=1, le=100, description="How many matches to return.")
    patterns: list[str] = Field(
        ["*.md", "*.py", "*.rst", "*.txt"], min_length=1, max_length=100, description="Globs for the files' names."
    )
    max_files: int | None = Field(10_000, ge=1, description="Index the first so many files; null: all.")
    max_file_bytes: int = Field(4 * 2**20, ge=1, le=2**30, description="Pass larger files by.")
    files_per_step: int = Field(50, ge=1, le=10_000, description="Files between two checkpoints.")
    lines_per_chunk: int = Field(40, ge=1, le=10_000, description="Lines that make one vector and one match.")
    step_delay_seconds: float = Field(0, ge=0, le=3600, description="A rest after each step: stretches a run.")
    index_folder: str | None = Field(
        None,
        min_length=1,
        description="Where to build and leave the index; one job at a time. Default: a folder in the user's cache, "
        "where the last few are kept.",
    )


class IndexResult(BaseModel):
    folders: list[str]
    files: int
    chunks: int
    bytes: int = Field(description="Size of the text in the index.")
    terms: int = Field(description="Different terms; they are hashed, so two may count as one now and then.")
    skipped: dict[Reason, int] = Field(description="Files that were listed but are not in the index, and why.")
    unreadable_folders: int
    index_bytes: int = Field(description="Size of the index on disk.")
    index_digest: str = Field(description="Stands for the whole content of the index: equal input gives an equal one.")
    query: str
    matches: list[Match] = Field(description="Best first.")


class Cursor(BaseModel):
    """The checkpoint: how far the index in the folder has come. All else stands in the folder itself."""

    listing: Listing
    read: int = 0
    """Segments written."""
    totals: Totals | None = None
    """Known once all segments are counted."""
    weighed: int = 0
    """Segments whose vectors' lengths are written."""


@task(
    queue="documents", retries=5, retry_on=(OSError,), timeout=6 * 3600, soft_timeout=6 * 3600 - 60, interruptible=True
)
def index(job: Job, params: IndexParams) -> IndexResult:
    """Build a searchable vector index of text files, and return its figures and the best matches for a query.

    Stopped or killed anywhere, it resumes from its last checkpoint and gives the same result, as long as the index
    folder is still there; otherwise it starts again. A folder that is missing fails the job.
    """
    folder = _index_folder(job, params)
    try:
        return _Indexing(job, params, VectorIndex(folder)).run()
    except Cancelled:
        if params.index_folder is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise


class _Indexing:
    """One attempt. Its steps are list, read (once for each segment), count, weigh and search.

    No step needs its memory of another, and doing a step twice gives the same files: so wherever an attempt ends, and
    also by a soft timeout, nothing but the step at hand is lost.
    """

    def __init__(self, job: Job, params: IndexParams, index: VectorIndex) -> None:
        self.job = job
        self.params = params
        self.index = index

    def run(self) -> IndexResult:
        self.index.remove_unfinished()
        cursor = self._resumed() or self._list()
        self._read(cursor)
        totals = cursor.totals or self._count(cursor)
        self._weigh(cursor, totals)
        self.index.finish(totals)
        self.job.progress(_WEIGHED, "Searching")
        matches = search(self.index.folder, self.params.query, top=self.params.top)
        figures = totals.figures
        self.job.progress(1, f"Indexed {figures['files']:,} files in {figures['chunks']:,} chunks", **figures)
        self.job.log("The index is ready.", folder=str(self.index.folder), digest=totals.digest)
        return IndexResult(
            folders=cursor.listing.folders,
            files=figures["files"],
            chunks=figures["chunks"],
            bytes=figures["bytes"],
            terms=totals.terms,
            skipped={reason: figures[reason] for reason in get_args(Reason)},
            unreadable_folders=cursor.listing.unreadable_folders,
            index_bytes=self.index.size_bytes(totals.segments),
            index_digest=totals.digest,
            query=self.params.query,
            matches=matches,
        )

    def _resumed(self) -> Cursor | None:
        """The checkpoint, as far as its files still stand; None where the index must be built from the start."""
        if self.job.checkpointed is None:
            return None
        try:
            cursor = Cursor.model_validate(self.job.checkpointed)
        except ValidationError:
            self.job.log("The checkpoint is of another version of this task: starting again.", level="warning")
            return None
        if listing_digest(self.index.listing) != cursor.listing.digest:
            self.job.log("The index folder is gone or holds another index: starting again.", level="warning")
            return None
        stand = _leading(self.index.segment, cursor.read)
        if stand < cursor.read or not self.index.frequencies.exists():
            cursor.totals, cursor.weighed = None, 0
        self.job.log("Resuming.", segments_read=stand, segments_lost=cursor.read - stand, weighed=cursor.weighed)
        cursor.read = stand
        cursor.weighed = _leading(self.index.lengths, cursor.weighed)
        return cursor

    def _list(self) -> Cursor:
        folders = [Path(folder).expanduser().absolute() for folder in self.params.folders or ()] or default_folders()
        if not folders:
            raise Permanent("Neither docs nor Python packages are here: name the folders to index in `folders`.")
        self.job.progress(0, "Listing the files")
        self.index.clear()
        listing = write_listing(
            self.index.listing,
            folders,
            patterns=self.params.patterns,
            max_files=self.params.max_files,
            but_not=self.index.folder,
        )
        cursor = Cursor(listing=listing)
        self._end_step(cursor, _LISTED, f"Listed {listing.files:,} files")
        return cursor

    def _read(self, cursor: Cursor) -> None:
        listing, files_per_step, columns = cursor.listing, self.params.files_per_step, TermColumns()
        files = enumerate(read_listing(self.index.listing))
        bytes_before = sum(file.size_bytes for _, file in islice(files, cursor.read * files_per_step))

        def fraction(bytes_done: int) -> float:
            return _between(_LISTED, _READ, bytes_done, listing.size_bytes)

        def reported(step: Iterator[tuple[int, ListedFile]]) -> Iterator[tuple[int, ListedFile]]:
            nonlocal bytes_before
            for number, file in step:
                self.job.progress(fraction(bytes_before), f"Reading {file.path}", files=number, bytes=bytes_before)
                yield number, file
                bytes_before += file.size_bytes

        for number in range(cursor.read, -(-listing.files // files_per_step)):
            segment = Segment.of_files(
                reported(islice(files, files_per_step)),
                lines_per_chunk=self.params.lines_per_chunk,
                max_file_bytes=self.params.max_file_bytes,
                columns=columns,
            )
            segment.save(self.index.segment(number))
            cursor.read = number + 1
            files_read = min(cursor.read * files_per_step, listing.files)
            self._end_step(cursor, fraction(bytes_before), f"Read {files_read:,} of {listing.files:,} files")

    def _count(self, cursor: Cursor) -> Totals:
        def segments() -> Iterator[Segment]:
            for number in range(cursor.read):
                fraction = _between(_READ, _COUNTED, number, cursor.read)
                self.job.progress(fraction, f"Counting the terms of {cursor.read:,} segments", segments=number)
                yield Segment.load(self.index.segment(number))

        totals = self.index.count(segments(), max_file_bytes=self.params.max_file_bytes)
        cursor.totals = totals
        self._end_step(cursor, _COUNTED, f"Counted {totals.terms:,} terms")
        return totals

    def _weigh(self, cursor: Cursor, totals: Totals) -> None:
        rarities = self.index.rarities(totals)
        for first in range(cursor.weighed, totals.segments, _SEGMENTS_PER_WEIGHING):
            cursor.weighed = min(first + _SEGMENTS_PER_WEIGHING, totals.segments)
            for number in range(first, cursor.weighed):
                self.index.weigh(number, rarities)
            fraction = _between(_COUNTED, _WEIGHED, cursor.weighed, totals.segments)
            self._end_step(cursor, fraction, f"Weighed {cursor.weighed:,} of {totals.segments:,} segments")

    def _end_step(self, cursor: Cursor, fraction: float, message: str) -> None:
        self.job.progress(fraction, message)
        self.job.checkpoint(cursor)
        rest_until = time.monotonic() + self.params.step_delay_seconds
        while (left := rest_until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
            if self.job.draining:
                self.job.checkpoint(cursor)
            self.job.progress(fraction, message)


def _between(start: float, end: float, done: int, of: int) -> float:
    return start + (end - start) * done / of if done < of else end


def _leading(path_of: Callable[[int], Path], count: int) -> int:
    """How many of the first `count` files are there without a gap."""
    return next((number for number in range(count) if not path_of(number).exists()), count)


def _index_folder(job: Job, params: IndexParams) -> Path:
    if params.index_folder is not None:
        folder = Path(params.index_folder).expanduser().absolute()
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        folder = Path(cache, "longhaul", "documents", str(job.id))
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Permanent(
            f"The index can't be built in {folder}: name another `index_folder` ({error.strerror})."
        ) from error
    if params.index_folder is None:
        _keep_latest(folder)
    return folder


def _keep_latest(folder: Path) -> None:
    """Remove older finished indexes beside this one: an index that shall stay has an `index_folder` of its own."""
    finished = [path for path in folder.parent.glob("*/index.json") if path.parent != folder]
    finished.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in finished[_INDEXES_KEPT_IN_CACHE - 1 :]:
        shutil.rmtree(path.parent, ignore_errors=True)
