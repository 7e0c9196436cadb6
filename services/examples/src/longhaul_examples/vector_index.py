"""A searchable index in a folder: its files, its weights, and the search itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from longhaul import Permanent
from longhaul_examples.files import UNFINISHED, written_atomically
from longhaul_examples.listing import ListedFile, PassedBy, read_listing
from longhaul_examples.segments import FIGURES, Segment
from longhaul_examples.terms import COLUMNS, TermColumns

Floats = NDArray[np.float64]

_SNIPPET_LINES = 3
_SNIPPET_LINE_CHARACTERS = 160


class Totals(BaseModel):
    """What an index holds in all. `digest` stands for the whole content of its segments."""

    segments: int
    max_file_bytes: int
    figures: dict[str, int]
    """As `segments.FIGURES` names them."""
    terms: int
    """Columns in use: as good as the number of different terms, of which few share one."""
    digest: str


class Match(BaseModel):
    """Lines of a file that resemble the query: `score` is the cosine of the two, from 0 to 1."""

    folder: str
    path: str
    first_line: int
    last_line: int
    score: float
    snippet: str
    """The lines that name most of the query; empty where the file has gone since."""


class VectorIndex:
    """The files of one index. Each is written as a whole, and writing it again gives the same.

    A chunk's vector has (1 + ln tf) * idf for each of its terms. The segments hold tf; `count` and `weigh` add in how
    many chunks each term stands and how long each vector is, which is all that a search needs besides.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listing = folder / "files.jsonl"
        self.frequencies = folder / "frequencies.npz"
        self.totals = folder / "index.json"

    def segment(self, number: int) -> Path:
        return self.folder / f"segment-{number:06}.npz"

    def lengths(self, number: int) -> Path:
        return self.folder / f"lengths-{number:06}.npy"

    def clear(self) -> None:
        """Remove an earlier index from the folder, and nothing else."""
        for pattern in ("index.json", "frequencies.npz", "lengths-*.npy", "segment-*.npz"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)

    def remove_unfinished(self) -> None:
        """Remove what killed writers left."""
        for path in self.folder.glob(f".*{UNFINISHED}"):
            path.unlink(missing_ok=True)

    def size_bytes(self, segments: int) -> int:
        numbered = (path for number in range(segments) for path in (self.segment(number), self.lengths(number)))
        return sum(path.stat().st_size for path in (self.listing, self.frequencies, *numbered))

    def count(self, segments: Iterable[Segment], *, max_file_bytes: int) -> Totals:
        """Write in how many chunks each term stands, over all `segments` in their order."""
        frequencies = np.zeros(COLUMNS, np.int64)
        figures = np.zeros(len(FIGURES), np.int64)
        digest = blake2b(digest_size=16)
        segment_count = 0
        for segment in segments:
            segment_count += 1
            frequencies[segment.terms] += segment.chunks_by_term()
            figures += segment.figures
            digest.update(segment.digest())
        used = np.flatnonzero(frequencies)
        with written_atomically(self.frequencies) as stream:
            np.savez(stream, columns=used, chunks=frequencies[used])
        return Totals(
            segments=segment_count,
            max_file_bytes=max_file_bytes,
            figures=dict(zip(FIGURES, figures.tolist(), strict=True)),
            terms=len(used),
            digest=digest.hexdigest(),
        )

    def rarities(self, totals: Totals) -> Floats:
        """The smoothed inverse document frequency (idf) of each column."""
        chunks = totals.figures["chunks"]
        rarities = np.full(COLUMNS, np.log(1 + chunks) + 1)
        with np.load(self.frequencies) as frequencies:
            rarities[frequencies["columns"]] = np.log((1 + chunks) / (1 + frequencies["chunks"])) + 1
        return rarities

    def weigh(self, number: int, rarities: Floats) -> None:
        """Write the length of each vector of segment `number`."""
        segment = Segment.load(self.segment(number))
        weights = _damped(segment.counts) * np.repeat(rarities[segment.terms], segment.chunks_by_term())
        lengths = np.sqrt(np.bincount(segment.chunks, weights**2, minlength=segment.chunk_count))
        with written_atomically(self.lengths(number)) as stream:
            np.save(stream, lengths)

    def finish(self, totals: Totals) -> None:
        """All is written: from here on the index can be searched."""
        with written_atomically(self.totals) as stream:
            stream.write(totals.model_dump_json(indent=2).encode())


def search(folder: Path, query: str, *, top: int = 5) -> list[Match]:
    """The `top` chunks of a finished index that resemble the query most, best first.

    Raises Permanent where the folder holds no finished index.
    """
    index = VectorIndex(folder)
    try:
        totals = Totals.model_validate_json(index.totals.read_bytes())
    except (OSError, ValidationError) as error:
        raise Permanent(f"{folder} holds no finished index: let documents.index make one there first.") from error
    rarities = index.rarities(totals)
    wanted = Counter(TermColumns().of_text(query))
    weights = {column: float(_damped(np.array(n)) * rarities[column]) for column, n in sorted(wanted.items())}
    best: list[tuple[float, int, int, int]] = []
    for number in range(totals.segments):
        segment = Segment.load(index.segment(number))
        scores = _scores(segment, np.load(index.lengths(number)), weights, rarities)
        # Rounded before it is compared: where the last bits differ from processor to processor, the order does not.
        for chunk in np.argsort(-scores, kind="stable")[:top].tolist():
            if scores[chunk] > 0:
                lines = int(segment.first_lines[chunk]), int(segment.last_lines[chunk])
                best.append((-float(scores[chunk]), int(segment.files[chunk]), *lines))
        best = sorted(best)[:top]
    files = _files(index, {file for _, file, _, _ in best})
    return [
        Match(
            folder=files[file].folder,
            path=files[file].path,
            first_line=first_line,
            last_line=last_line,
            score=-score,
            snippet=_snippet(files[file], first_line, last_line, set(wanted), totals.max_file_bytes),
        )
        for score, file, first_line, last_line in best
    ]


def _damped(counts: NDArray[np.uint32]) -> Floats:
    return np.asarray(1 + np.log(counts), np.float64)


def _scores(segment: Segment, lengths: Floats, weights: dict[int, float], rarities: Floats) -> Floats:
    scores = np.zeros(segment.chunk_count)
    for column, weight in weights.items():
        term = int(np.searchsorted(segment.terms, column))
        if term < len(segment.terms) and segment.terms[term] == column:
            where = slice(segment.starts[term], segment.starts[term + 1])
            scores[segment.chunks[where]] += weight * _damped(segment.counts[where]) * rarities[column]
    query_length = np.sqrt(sum(weight**2 for weight in weights.values())) or 1.0
    return np.asarray(np.round(scores / (lengths * query_length), 4), np.float64)


def _files(index: VectorIndex, numbers: set[int]) -> dict[int, ListedFile]:
    last = max(numbers, default=-1)
    return {
        number: file
        for number, file in zip(range(last + 1), read_listing(index.listing), strict=False)
        if number in numbers
    }


def _snippet(file: ListedFile, first_line: int, last_line: int, wanted: set[int], max_file_bytes: int) -> str:
    try:
        lines = file.read_text(max_bytes=max_file_bytes).split("\n")[first_line - 1 : last_line]
    except PassedBy:
        return ""
    columns = TermColumns()
    named = [wanted.intersection(columns.of_text(line)) for line in lines]
    windows = range(max(1, len(lines) - _SNIPPET_LINES + 1))
    # Of the windows that name as much, the first whose own first line names something.
    start = max(
        windows,
        key=lambda first: (len(set().union(*named[first : first + _SNIPPET_LINES])), bool(named[first]), -first),
    )
    return "\n".join(line.rstrip()[:_SNIPPET_LINE_CHARACTERS] for line in lines[start : start + _SNIPPET_LINES])
