"""The written pages of the project, and what tests look for in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE_SPAN = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def prose(self) -> str:
        """The text without its code blocks."""
        return _FENCE.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        """Code blocks in a language."""
        return [match[2] for match in _FENCE.finditer(self.text) if match[1] == language]

    def code_spans(self) -> list[str]:
        return _CODE_SPAN.findall(self.prose)

    def anchors(self) -> set[str]:
        """What `#...` may name here, as the usual hosts make it of headings."""
        return {_anchor(match[1]) for match in _HEADING.finditer(self.prose)}


def _anchor(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower())
    return kept.replace(" ", "-")


def all_pages() -> Iterator[Page]:
    """The pages at the root of the project and below `docs`."""
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]):
        yield Page(path, path.read_text("utf-8"))


PAGES = list(all_pages())
WRITTEN_BY_HAND = [page for page in PAGES if "Written by `make docs`" not in page.text]
