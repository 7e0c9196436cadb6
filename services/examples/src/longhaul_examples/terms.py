"""Terms: which words count as the same, and which column of a vector each of them has."""

from __future__ import annotations

import re
from hashlib import blake2b
from itertools import chain

COLUMNS = 2**20
"""The vectors' length. The 6,000 files of a Python environment hold about 150,000 terms: few of them share a column."""

_CACHED_WORDS = 200_000
_WORD = re.compile(r"[^\W_]{2,64}")
_CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class TermColumns(dict[str, tuple[int, ...]]):
    """The columns of each word met so far; forgets all of them from time to time, so that its memory is bounded."""

    def __missing__(self, word: str) -> tuple[int, ...]:
        if len(self) >= _CACHED_WORDS:
            self.clear()
        columns = tuple(column_of(term) for term in terms_of(word))
        self[word] = columns
        return columns

    def of_text(self, text: str) -> list[int]:
        """One column for each term in the text, in its order, repeats included."""
        return list(chain.from_iterable(map(self.__getitem__, _WORD.findall(text))))


def terms_of(word: str) -> list[str]:
    """`HTTPRetries` gives `http` and `retry`: humps apart, lower case, English plurals as singulars."""
    parts = [part.lower() for part in _CAMEL_HUMP.split(word)]
    return [_singular(part) for part in parts if len(part) > 1]


def column_of(term: str) -> int:
    """The same in every process and on every machine, which Python's own salted hash() is not."""
    return int.from_bytes(blake2b(term.encode(), digest_size=4).digest(), "little") % COLUMNS


def _singular(word: str) -> str:
    # Harman's S-stemmer (1991): it joins what a reader takes for the same word and breaks next to nothing.
    if len(word) > 4 and word.endswith("ies") and word[-4] not in "ae":
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and word[-2] not in "us":
        return word[:-1]
    return word
