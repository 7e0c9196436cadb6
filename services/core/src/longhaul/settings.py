"""Settings that more than one process reads, from the environment with the prefix `LONGHAUL_`."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeVar

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from longhaul.errors import ConfigurationError
from longhaul.results import ResultStore


def split_commas(value: object) -> object:
    """`a,b` as the environment gives it becomes `["a", "b"]`."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _postgres_url(url: str) -> str:
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("must look like postgresql://user:password@host:5432/database")
    return url


def _redis_url(url: str) -> str:
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must look like redis://:password@host:6379/0, rediss://... or unix:///path?db=0")
    return url


def _result_store_url(url: str) -> str:
    if url and not url.startswith(("file:///", "s3://", "az://", "gs://")):
        raise ValueError("must look like s3://bucket/path, az://container/path, gs://bucket/path or file:///folder")
    return url


def _options(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        options = orjson.loads(value or "{}")
    except orjson.JSONDecodeError:
        options = None
    if not isinstance(options, dict):
        raise ValueError('must be a JSON object of texts, like {"aws_region": "eu-west-1"}')  # noqa: TRY004 - pydantic's
    return options


PostgresUrl = Annotated[str, AfterValidator(_postgres_url)]
RedisUrl = Annotated[str, AfterValidator(_redis_url)]
ResultStoreUrl = Annotated[str, AfterValidator(_result_store_url)]
Options = Annotated[dict[str, str], NoDecode, BeforeValidator(_options)]
CommaList = Annotated[list[str], NoDecode]
S = TypeVar("S", bound="Settings")


class Settings(BaseSettings):
    """What every process needs. Each service adds its own in its `settings.py`."""

    model_config = SettingsConfigDict(env_prefix="LONGHAUL_", extra="ignore", frozen=True)

    database_url: PostgresUrl
    redis_url: RedisUrl
    """Where the doorbells are: Celery's broker."""
    events_url: RedisUrl | None = None
    """Where events are published; the broker's server where unset."""
    lease_seconds: float = Field(default=15.0, gt=0)
    renew_seconds: float = Field(default=3.0, gt=0)
    reconnect_seconds: float = Field(default=1.0, gt=0)
    """Longest pause between two tries to reach a server that is away."""
    result_store_url: ResultStoreUrl = ""
    """Where results go that are too large for the ledger: a bucket, and a path in it, of this installation's own. Empty: no such
    results. `file:///folder` is for one machine."""
    result_store_options: Options = {}
    """How to reach it, credentials too: obstore's options as a JSON object, such as `{"aws_region": "eu-west-1"}`."""
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otlp_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")

    @property
    def events_redis_url(self) -> str:
        return self.events_url or self.redis_url

    def create_result_store(self, *, timeout_seconds: float = 30.0) -> ResultStore | None:
        """The result store; None where there is none. Raises ConfigurationError where it can't be right."""
        if not self.result_store_url:
            return None
        return ResultStore(self.result_store_url, self.result_store_options, timeout_seconds=timeout_seconds)

    @model_validator(mode="after")
    def _lease_survives_missed_renewals(self) -> Self:
        if self.lease_seconds < 3 * self.renew_seconds:
            raise ValueError(
                f"LONGHAUL_LEASE_SECONDS ({self.lease_seconds:g}) must be at least three times LONGHAUL_RENEW_SECONDS "
                f"({self.renew_seconds:g}), or one slow renewal loses running jobs"
            )
        return self


def load_settings(cls: type[S]) -> S:
    """Read settings from the environment.

    Raises ConfigurationError with one sentence a wrong setting, each naming its variable.
    """
    try:
        return cls()
    except ValidationError as error:
        lines = []
        for one in error.errors():
            name = str(one["loc"][0]) if one["loc"] else ""
            variable = name if name.startswith("OTEL_") else f"LONGHAUL_{name.upper()}" if name else ""
            reason = "is not set" if one["type"] == "missing" else one["msg"].removeprefix("Value error, ")
            lines.append(f"{variable}: {reason}." if variable else f"{reason}.")
        raise ConfigurationError("\n".join(lines)) from None
