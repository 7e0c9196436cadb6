"""Errors: one stable code each, a sane status, and a docstring that is the message."""

from __future__ import annotations

import inspect
from collections import Counter

import pytest

from longhaul import errors
from longhaul.errors import Cancelled, HandOver, JobStopped, LonghaulError, Retryable, error_for

ERRORS = [
    cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, LonghaulError)
]  # fmt: skip


def test_codes_are_unique_and_stable_words() -> None:
    counts = Counter(cls.code for cls in ERRORS)
    assert [code for code, count in counts.items() if count > 1] == []
    assert all(code == code.lower() and code.replace("_", "").isalpha() for code in counts)


@pytest.mark.parametrize("cls", ERRORS)
def test_an_error_has_its_own_code_a_status_of_an_error_and_a_sentence(cls: type[LonghaulError]) -> None:
    assert "code" in vars(cls)
    assert 400 <= cls.status < 600
    assert issubclass(cls, errors.RequestError) == (400 <= cls.status < 500)
    message = cls().message
    assert message == " ".join((cls.__doc__ or "").split())
    assert str(cls()) == message
    assert message[0].isupper()
    assert message.endswith(".")


@pytest.mark.parametrize("cls", ERRORS)
def test_a_code_finds_its_class_again(cls: type[LonghaulError]) -> None:
    assert error_for(cls.code) is cls


def test_an_unknown_code_is_the_base_error() -> None:
    assert error_for("from_a_newer_version") is LonghaulError


def test_an_error_carries_a_message_and_details() -> None:
    error = errors.InvalidParams("`rows` must be a number.", errors=[{"field": "rows"}])
    assert (error.message, error.details) == ("`rows` must be a number.", {"errors": [{"field": "rows"}]})
    assert Retryable("later", delay_seconds=5, reason="429").delay_seconds == 5
    assert Retryable().delay_seconds is None


def test_what_stops_a_task_passes_its_except_exception() -> None:
    for stop in (Cancelled, HandOver):
        assert issubclass(stop, JobStopped)
        assert not issubclass(stop, Exception)
