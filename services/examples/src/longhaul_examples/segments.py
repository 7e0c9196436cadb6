"""Segments: what one step has read, as sparse vectors. An index is a folder of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import Self, get_args

import numpy as np
from numpy.typing import NDArray

from longhaul_examples.files import written_atomically
from longhaul_examples.listing import ListedFile, PassedBy, Reason
from longhaul_examples.terms import TermColumns

FIGURES = ("files", "chunks", "bytes", *get_args(Reason))
"""What a segment counts: what is in it, and the files that it passed by and why."""


@dataclass(frozen=True)
class Segment:
    """The chunks of one step's files, sorted by term, so that a search reads only what its query names.

    Term i is column `terms[i]`. It stands in the chunks `chunks[starts[i]:starts[i + 1]]` of this segment, in each as
    often as `counts` says there. Chunk j is the lines `first_lines[j]` to `last_lines[j]` (from 1) of the listing's
    file `files[j]`. Whole numbers only: they, and so their digest, are the same on every processor.
    """

    terms: NDArray[np.uint32]
    starts: NDArray[np.uint32]
    chunks: NDArray[np.uint32]
    counts: NDArray[np.uint32]
    files: NDArray[np.uint32]
    first_lines: NDArray[np.uint32]
    last_lines: NDArray[np.uint32]
    figures: NDArray[np.int64]

    @classmethod
    def of_files(
        cls,
        listed: Iterable[tuple[int, ListedFile]],
        *,
        lines_per_chunk: int,
        max_file_bytes: int,
        columns: TermColumns,
    ) -> Self:
        """Read these files, each with its number in the listing. What can't be read is counted in `figures`."""
        figures: Counter[str] = Counter()
        places: list[tuple[int, int, int]] = []
        lengths: list[int] = []
        occurrences: list[int] = []
        for number, file in listed:
            try:
                text = file.read_text(max_bytes=max_file_bytes)
            except PassedBy as passed_by:
                figures[passed_by.reason] += 1
                continue
            figures["files"] += 1
            figures["bytes"] += len(text.encode())
            lines = text.split("\n")
            for first in range(0, len(lines), lines_per_chunk):
                chunk = lines[first : first + lines_per_chunk]
                found = columns.of_text("\n".join(chunk))
                if found:
                    occurrences += found
                    lengths.append(len(found))
                    places.append((number, first + 1, first + len(chunk)))
        figures["chunks"] = len(places)
        terms, starts, chunks, counts = _sorted_by_term(np.array(occurrences, np.int64), np.array(lengths, np.int64))
        files, first_lines, last_lines = np.array(places, np.uint32).reshape(-1, 3).T
        return cls(
            terms=terms,
            starts=starts,
            chunks=chunks,
            counts=counts,
            files=files,
            first_lines=first_lines,
            last_lines=last_lines,
            figures=np.array([figures[name] for name in FIGURES], np.int64),
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        with np.load(path) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    def save(self, path: Path) -> None:
        with written_atomically(path) as stream:
            np.savez(stream, **{field.name: getattr(self, field.name) for field in fields(self)})

    def digest(self) -> bytes:
        digest = blake2b(digest_size=16)
        for field in fields(self):
            array = getattr(self, field.name)
            digest.update(f"{field.name} {array.size} ".encode())
            digest.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        return digest.digest()

    @property
    def chunk_count(self) -> int:
        return len(self.files)

    def chunks_by_term(self) -> NDArray[np.uint32]:
        """In how many of its chunks each of `terms` stands."""
        return np.diff(self.starts)


def _sorted_by_term(
    occurrences: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]:
    """`terms`, `starts`, `chunks` and `counts` of a segment whose chunks have `lengths` occurrences of terms each."""
    width = max(len(lengths), 1)
    pairs, counts = np.unique(occurrences * width + np.repeat(np.arange(len(lengths)), lengths), return_counts=True)
    terms, starts = np.unique(pairs // width, return_index=True)
    return (
        terms.astype(np.uint32),
        np.append(starts, len(pairs)).astype(np.uint32),
        (pairs % width).astype(np.uint32),
        counts.astype(np.uint32),
    )
