"""The rows of a CSV file, one at a time, with plain words and a line number for all that is wrong with it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import IO

from longhaul import Permanent

_LINE_BYTES = 2**20
_COLUMNS = 500


class CsvRows:
    """Iterating gives `(line, row)`: the number of the row's last line from 1, and as many fields as `header` has.

    Empty lines are passed by. Raises Permanent, also when it is made, where the file is no proper CSV.
    """

    def __init__(self, stream: IO[bytes], *, delimiter: str, encoding: str) -> None:
        self.bytes_read = 0
        self._lines_read = 0
        self._reader = csv.reader(self._lines(stream, encoding), delimiter=delimiter, strict=True)
        _, self.header = next(self._rows(), (0, []))
        twice = {name for name in self.header if self.header.count(name) > 1}
        if not self.header:
            raise Permanent("The CSV is empty: its first line must name the columns.")
        if len(self.header) > _COLUMNS:
            raise Permanent(f"Line 1 names {len(self.header)} columns: a report takes up to {_COLUMNS}.")
        if twice:
            raise Permanent(f"Line 1 names the column {min(twice)!r} twice: give each column a name of its own.")

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        width = len(self.header)
        for line, row in self._rows():
            if len(row) != width:
                raise Permanent(
                    f"Line {line} has {len(row)} fields and the header has {width}: quote fields that hold the delimiter."
                )
            yield line, row

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        while True:
            try:
                row = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise Permanent(f"Line {self._lines_read} is no proper CSV: {error}.") from error
            if row:
                yield self._lines_read, row

    def _lines(self, stream: IO[bytes], encoding: str) -> Iterator[str]:
        # Decoded line by line: a text stream decodes ahead, and could not say which line is wrong.
        while line := stream.readline(_LINE_BYTES + 1):
            self._lines_read += 1
            self.bytes_read += len(line)
            if len(line) > _LINE_BYTES:
                raise Permanent(f"Line {self._lines_read} is longer than {_LINE_BYTES} bytes: is this a CSV file?")
            if b"\0" in line:
                raise Permanent(f"Line {self._lines_read} holds a zero byte: is this a CSV file?")
            try:
                text = line.decode(encoding)
            except UnicodeDecodeError as error:
                raise Permanent(f"Line {self._lines_read} is not {encoding}: name the file's `encoding`.") from error
            yield text.removeprefix("\ufeff") if self._lines_read == 1 else text
