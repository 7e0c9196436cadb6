"""Every error that Longhaul raises or answers with: one base, one stable `code` and one HTTP status each.

A docstring is its error's default message: what happened, and what to do next.
"""

from __future__ import annotations

from typing import Any, ClassVar


class LonghaulError(Exception):
    """Something went wrong inside Longhaul: try again, and report it with the request's id if it stays."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    def __init__(self, message: str | None = None, **details: Any) -> None:
        self.message = message or " ".join((type(self).__doc__ or "").split())
        self.details = details
        super().__init__(self.message)


# What a task raises to say how its attempt ended.


class TaskError(LonghaulError):
    """The task failed."""

    code = "task_failed"


class Retryable(TaskError):
    """A passing fault: the attempt ends, and the job is tried again after a backoff while it has retries left."""

    code = "retryable"

    def __init__(self, message: str | None = None, *, delay_seconds: float | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.delay_seconds = delay_seconds


class Permanent(TaskError):
    """A fault that another try would meet again: the job fails at once."""

    code = "permanent"


class Unstorable(Permanent):
    """The value can't be stored: it is not JSON, not finite, or too large."""

    code = "unstorable"


class SoftTimeout(TaskError):
    """The soft time limit has passed: save the job's state now and return or raise; the hard limit kills it."""

    code = "soft_timeout"


class JobStopped(BaseException):
    """The platform asks the task to stop. Not an `Exception`, so that a task's own `except Exception` lets it pass."""


class Cancelled(JobStopped):
    """Someone cancelled the job."""


class HandOver(JobStopped):
    """This pod must go: the checkpoint is saved, and another worker resumes from it."""


class AttemptOver(JobStopped):
    """This attempt has ended, so nothing can be reported for it any more. A thread, a forked process or an async task that
    outlives its attempt meets this: end it before the task returns."""

    def __init__(self) -> None:
        super().__init__(" ".join((type(self).__doc__ or "").split()))


# What the API answers. The client raises the same classes again, found by `code`.


class RequestError(LonghaulError):
    """The request can't be carried out as it stands."""

    code = "bad_request"
    status = 400


class InvalidParams(RequestError):
    """The params do not fit the task's schema: see `errors` for each field and what it must be."""

    code = "invalid_params"
    status = 422


class InvalidRequest(RequestError):
    """The request does not fit the API: see `errors` for each field and what it must be."""

    code = "invalid_request"
    status = 422


class UnknownTask(RequestError):
    """No worker has published a task of this name: see GET /v1/tasks for those that exist."""

    code = "unknown_task"
    status = 422


class BodyTooLarge(RequestError):
    """The request's body is larger than this API accepts: put large inputs into object storage and send where."""

    code = "body_too_large"
    status = 413


class Unauthenticated(RequestError):
    """This API wants a key: send it as `Authorization: Bearer lh_...`; an administrator makes one with `longhaul keys`."""

    code = "unauthenticated"
    status = 401


class Forbidden(RequestError):
    """Your key does not allow this: ask an administrator for one that does."""

    code = "forbidden"
    status = 403


class NotFound(RequestError):
    """There is nothing here under this name."""

    code = "not_found"
    status = 404


class MethodNotAllowed(RequestError):
    """This address does not take this method: see the `Allow` header."""

    code = "method_not_allowed"
    status = 405


class UnknownJob(NotFound):
    """There is no job with this id."""

    code = "unknown_job"


class UnknownQueue(NotFound):
    """There is no queue of this name: see GET /v1/queues."""

    code = "unknown_queue"


class UnknownWebhook(NotFound):
    """This job has no webhook to tell: it was submitted without one, or it has not ended yet."""

    code = "unknown_webhook"


class NoResult(RequestError):
    """The job has no result: it has not succeeded, at least not yet. See its `state` and `error`."""

    code = "no_result"
    status = 409


class ResultGone(RequestError):
    """The job's stored result is no longer as it was written: it was deleted from the result store, or changed there.
    Submit the job again to compute it anew."""

    code = "result_gone"
    status = 410


class JobFinished(RequestError):
    """The job has ended already, so this can't change it any more."""

    code = "job_finished"
    status = 409


class NotReplayable(RequestError):
    """Only a job that ended as `failed` or `dead` can be replayed: submit a new one instead."""

    code = "not_replayable"
    status = 409


class NotDeadLettered(RequestError):
    """The job is not in the dead-letter queue, so it can't be discarded from there."""

    code = "not_dead_lettered"
    status = 409


class IdempotencyConflict(RequestError):
    """This Idempotency-Key was used before with another body: use a new key for a new job."""

    code = "idempotency_conflict"
    status = 409


class LedgerUnavailable(LonghaulError):
    """The database does not answer: send the same request again after `Retry-After` seconds; the same `Idempotency-Key`
    makes one job of it, however often it is sent."""

    code = "ledger_unavailable"
    status = 503


class LedgerRefuses(LedgerUnavailable):
    """The database refuses what this request needs, whatever its values are: the API's log says why (`ledger_refuses`),
    and an administrator must mend it. Send the same request again after `Retry-After` seconds."""

    code = "ledger_refuses"


class ResultStoreUnavailable(LonghaulError):
    """The result store does not answer, and this result is in it: ask again after `Retry-After` seconds."""

    code = "result_store_unavailable"
    status = 503


class SchemaMismatch(LonghaulError):
    """The database's schema is not the one that this version expects: run `longhaul migrate`."""

    code = "schema_mismatch"
    status = 503


class ConfigurationError(LonghaulError):
    """A setting is missing or contradicts another."""

    code = "configuration"


def error_for(code: str) -> type[LonghaulError]:
    """The class with this `code`; `LonghaulError` itself where no class has it."""
    pending: list[type[LonghaulError]] = [LonghaulError]
    while pending:
        cls = pending.pop()
        if cls.code == code:
            return cls
        pending.extend(cls.__subclasses__())
    return LonghaulError
