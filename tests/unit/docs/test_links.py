"""Every link inside the project leads to a file, and to a heading that it has."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from tests.unit.docs.pages import PAGES, ROOT, Page

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_PATH = re.compile(r"^(?:services|tests|docs|charts)/[\w./-]+$")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Page) -> None:
    broken = [link for link in _LINK.findall(page.prose) if not _leads_somewhere(page, link)]
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_that_are_named_exist(page: Page) -> None:
    named = [span for span in page.code_spans() if _PATH.match(span)]
    assert not [path for path in named if not (ROOT / path).exists()]


def test_every_page_is_reached_from_the_readme() -> None:
    by_path = {page.path: page for page in PAGES}
    pending, reached = [ROOT / "README.md"], set()
    while pending:
        path = pending.pop()
        if path in by_path and path not in reached:
            reached.add(path)
            links = [urlsplit(link) for link in _LINK.findall(by_path[path].prose)]
            pending += [(path.parent / link.path).resolve() for link in links if not link.scheme and link.path]
    assert by_path.keys() == reached


def _leads_somewhere(page: Page, link: str) -> bool:
    parts = urlsplit(link)
    if parts.scheme:
        return parts.scheme == "https"
    target = (page.path.parent / parts.path).resolve() if parts.path else page.path
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not parts.fragment or parts.fragment in Page(target, target.read_text("utf-8")).anchors()
