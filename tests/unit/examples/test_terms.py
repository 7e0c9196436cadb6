from __future__ import annotations

import pytest

from longhaul_examples import terms
from longhaul_examples.terms import TermColumns, column_of, terms_of


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("retries", ["retry"]),
        ("HTTPServer", ["http", "server"]),
        ("getResponseCode2", ["get", "response", "code2"]),
        ("class", ["class"]),
        ("Größe", ["größe"]),
        ("JOBS", ["job"]),
        ("x", []),
    ],
)
def test_words_that_mean_the_same_are_the_same_terms(word: str, expected: list[str]) -> None:
    assert terms_of(word) == expected


def test_a_column_is_the_same_for_ever() -> None:
    assert column_of("retry") == 964_946


def test_a_text_has_a_column_for_each_occurrence_in_order() -> None:
    columns = TermColumns()
    assert columns.of_text("retry the_jobs, retry!") == [
        *columns["retry"],
        *columns["the"],
        *columns["jobs"],
        *columns["retry"],
    ]


def test_its_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "_CACHED_WORDS", 10)
    columns = TermColumns()
    words = [f"word{number}" for number in range(100)]
    assert columns.of_text(" ".join(words)) == [column_of(word) for word in words]
    assert len(columns) <= 10
