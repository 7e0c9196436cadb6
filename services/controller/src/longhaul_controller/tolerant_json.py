"""JSON of another system, read without trust: whatever is missing, null or of another type reads as nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

MAX_CHARACTERS = 1000
"""Of one text: it may end in a job's error, which lists of jobs carry."""


@dataclass(frozen=True)
class Node:
    """One value of a document. No method raises, whatever the value is."""

    value: object

    def __getitem__(self, name: str) -> Node:
        """The field of an object; a node of nothing if this is no object, or has no such field."""
        return Node(self.value.get(name) if isinstance(self.value, dict) else None)

    @property
    def is_null(self) -> bool:
        """Whether the field is missing or null, which means the same in an object of Kubernetes."""
        return self.value is None

    @property
    def is_object(self) -> bool:
        return isinstance(self.value, dict)

    def elements(self) -> Iterator[Node]:
        """The elements of a list."""
        if isinstance(self.value, list):
            yield from map(Node, self.value)

    def text(self) -> str:
        """A text that PostgreSQL can store and a reader can bear, or an empty one."""
        if not isinstance(self.value, str):
            return ""
        text = self.value[:MAX_CHARACTERS].replace("\x00", "")
        return text.encode(errors="replace").decode()

    def integer(self) -> int | None:
        """A whole number that fits into 64 bits."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            return None
        return self.value if -(2**63) <= self.value < 2**63 else None

    def time(self) -> datetime | None:
        """A time in ISO 8601; in UTC if it names no zone."""
        try:
            at = datetime.fromisoformat(self.text())
        except ValueError:
            return None
        return at if at.tzinfo else at.replace(tzinfo=UTC)

    def texts(self) -> dict[str, str]:
        """The fields of an object that are texts, as they are."""
        fields = self.value.items() if isinstance(self.value, dict) else ()
        return {name: value for name, value in fields if isinstance(name, str) and isinstance(value, str)}
