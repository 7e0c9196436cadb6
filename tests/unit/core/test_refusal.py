"""What an error of the ledger means: the server is away, refuses everything, refuses these values, or wants a repeat."""

from __future__ import annotations

import orjson
import psycopg
import pytest
from psycopg import errors
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from longhaul.errors import LedgerUnavailable, SchemaMismatch
from longhaul.ledger.connection import AWAY, Refusal, refusal_of

BY_STATE = {
    Refusal.AWAY: ["08000", "08006", "57P01", "57P02", "57P03", "57P05", "53100", "53300", "25P03", "25P04"],
    Refusal.EVERYTHING: [
        *("25006", "25P02", "42501", "42P01", "42703", "42601", "0A000", "55000", "55006", "58030", "58P01", "XX000"),
        *("XX001", "P0000", "P0001", "P0002", "28000", "3D000", "3F000", "26000", "38000", "HV000"),
    ],
    Refusal.VALUES: ["21000", "22003", "22021", "22P02", "22P05", "23502", "23505", "23514", "44000", "54000", "54001"],
    Refusal.CONFLICT: ["40001", "40P01", "40003", "55P03", "57014"],
}


@pytest.mark.parametrize(("state", "refusal"), [(state, one) for one, states in BY_STATE.items() for state in states])
def test_a_state_of_postgresql_says_what_to_do(state: str, refusal: Refusal) -> None:
    assert refusal_of(errors.lookup(state)()) is refusal


def test_a_state_that_nobody_knows_refuses_everything() -> None:
    """A trigger may raise any five characters."""
    for base in (psycopg.DatabaseError, psycopg.OperationalError, psycopg.ProgrammingError):
        error = base()
        error.sqlstate = "LH001"
        assert refusal_of(error) is Refusal.EVERYTHING


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("connection refused"),
        psycopg.InterfaceError("the connection is closed"),
        errors.ConnectionTimeout(),
        PoolTimeout(),
        PoolClosed(),
        TooManyRequests(),
        TimeoutError(),
        ConnectionResetError(),
        OSError("no such host"),
        LedgerUnavailable(),
    ],
)
def test_no_answer_is_a_database_that_is_away(error: Exception) -> None:
    assert refusal_of(error) is Refusal.AWAY


def unsendable(value: object) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what the test asks
        orjson.dumps(value)
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"),
        UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed"),
        unsendable("\udce9"),
        unsendable(2**64),
    ],
)
def test_what_cannot_be_sent_is_a_refusal_of_its_values(error: Exception) -> None:
    assert refusal_of(error) is Refusal.VALUES


@pytest.mark.parametrize("error", [psycopg.ProgrammingError("cannot adapt"), psycopg.NotSupportedError()])
def test_what_psycopg_cannot_do_is_refused_whatever_the_values(error: Exception) -> None:
    assert refusal_of(error) is Refusal.EVERYTHING


@pytest.mark.parametrize(
    "error", [KeyError("job"), ValueError(), SchemaMismatch(), AssertionError(), KeyboardInterrupt()]
)
def test_an_error_of_the_code_is_no_refusal(error: BaseException) -> None:
    assert refusal_of(error) is None


def test_every_error_of_psycopg_has_a_meaning() -> None:
    pending: list[type[Exception]] = [psycopg.Error, *AWAY]
    while pending:
        cls = pending.pop()
        pending += cls.__subclasses__()
        assert isinstance(refusal_of(cls.__new__(cls)), Refusal), cls
