"""The reference says what the code does: it is what `make docs` writes."""

from __future__ import annotations

import pytest
from docs.generate import REFERENCE, pages

WRITTEN = pages()


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_a_page_is_what_the_generator_writes(name: str) -> None:
    path = REFERENCE / name
    assert path.exists(), f"{name} is missing: run `make docs`"
    assert path.read_text("utf-8") == WRITTEN[name], f"{name} is older than the code: run `make docs`"


def test_no_page_is_left_over() -> None:
    assert {path.name for path in REFERENCE.iterdir()} == set(WRITTEN)
