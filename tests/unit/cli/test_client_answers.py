"""What the client makes of an answer: an error's class, a retry, or neither."""

from __future__ import annotations

import httpx2
import pytest

from longhaul import errors
from longhaul.client import ApiUnreachable, UnreadableAnswer, answers, calls

SUBMIT = calls.submit("demo.echo", {})
REPLAY = calls.replay("1")


def response(status: int, *, json: object = None, text: str = "", **headers: str) -> httpx2.Response:
    content = {"json": json} if json is not None else {"text": text}
    request = httpx2.Request("GET", "http://longhaul.test/v1/jobs/1")
    return httpx2.Response(status, **content, headers=headers, request=request)


def problem(code: str, status: int, **more: object) -> httpx2.Response:
    body = {"type": "urn:x", "title": "X", "status": status, "detail": "Do this next.", "code": code, **more}
    return response(status, json=body)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def tries(limit_seconds: float = 30.0, clock: Clock | None = None) -> answers.Tries:
    return answers.Tries(limit_seconds, clock=clock or Clock(), jitter=lambda: 1.0)


@pytest.mark.parametrize(
    ("code", "cls"),
    [
        ("unknown_job", errors.UnknownJob),
        ("invalid_params", errors.InvalidParams),
        ("idempotency_conflict", errors.IdempotencyConflict),
        ("job_finished", errors.JobFinished),
        ("ledger_unavailable", errors.LedgerUnavailable),
        ("unauthenticated", errors.Unauthenticated),
    ],
)
def test_a_problem_becomes_the_error_of_its_code(code: str, cls: type[errors.LonghaulError]) -> None:
    fields = [{"field": "/params/x", "message": "is required"}]
    error = answers.error_of(problem(code, cls.status, errors=fields))
    assert type(error) is cls
    assert error.message == "Do this next."
    assert error.details == {"errors": fields}


def test_a_code_of_a_newer_api_is_kept() -> None:
    error = answers.error_of(problem("moon_phase", 418))
    assert type(error) is errors.LonghaulError
    assert error.details == {"code": "moon_phase", "status": 418}


@pytest.mark.parametrize("status", [200, 302, 404])
def test_an_answer_that_is_not_longhauls_says_where_it_came_from(status: int) -> None:
    with pytest.raises(UnreadableAnswer, match=r"http://longhaul\.test/v1/jobs/1 answered .* check LONGHAUL_URL"):
        answers.read(calls.get("1"), response(status, text="<html>Welcome</html>"))


def test_a_proxy_that_finds_no_api_means_unreachable() -> None:
    assert isinstance(answers.error_of(response(502, text="Bad Gateway")), ApiUnreachable)


def test_pauses_double_up_to_five_seconds_and_end_with_the_limit() -> None:
    clock, pauses = Clock(), []
    trying = tries(limit_seconds=20, clock=clock)
    while (pause := trying.pause_after(SUBMIT, response(503))) is not None:
        pauses.append(pause)
        clock.now += pause
    assert pauses == [pytest.approx(seconds) for seconds in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0)]
    assert clock.now <= 20


def test_retry_after_is_waited_for() -> None:
    assert tries().pause_after(SUBMIT, response(429, **{"Retry-After": "7"})) == 7
    assert tries().pause_after(SUBMIT, response(503, **{"Retry-After": "60"})) is None  # past the limit: final


@pytest.mark.parametrize("status", [200, 202, 400, 404, 409, 422, 500])
def test_other_answers_are_final(status: int) -> None:
    assert tries().pause_after(SUBMIT, response(status)) is None


def test_what_may_have_been_done_already_is_not_repeated() -> None:
    assert tries().pause_after(REPLAY, response(503)) is None
    assert tries().pause_after(REPLAY, response(429)) is not None
    assert tries().pause_after_error(REPLAY, httpx2.ConnectError("refused", request=response(200).request)) > 0
    with pytest.raises(ApiUnreachable, match=r"^http://longhaul\.test does not answer"):
        tries().pause_after_error(REPLAY, httpx2.ReadError("reset", request=response(200).request))
    assert tries().pause_after_error(SUBMIT, httpx2.ReadError("reset", request=response(200).request)) > 0


def test_every_submit_has_a_key_of_its_own_so_that_retries_are_safe() -> None:
    first, second = calls.submit("demo.echo"), calls.submit("demo.echo")
    assert first.headers["Idempotency-Key"] != second.headers["Idempotency-Key"]
    assert calls.submit("demo.echo", idempotency_key="mine").headers["Idempotency-Key"] == "mine"
    assert first.is_repeatable
