"""Where the API is, who asks, and the HTTP options that both clients share."""

from __future__ import annotations

import ipaddress
from typing import Any

import httpx2
from pydantic import SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from longhaul.client.calls import Call
from longhaul.errors import ConfigurationError

_USUAL_SECONDS = 10.0
_CONNECT_SECONDS = 5.0


class ClientSettings(BaseSettings):
    """What a client reads from the environment."""

    model_config = SettingsConfigDict(env_prefix="LONGHAUL_", extra="ignore", frozen=True)

    url: str = "http://127.0.0.1:8080"
    api_key: SecretStr | None = None

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        try:
            parsed = httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise ValueError(f"is no URL: {error}") from None
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise ValueError("must look like https://longhaul.example.com")
        return url.rstrip("/")


def load_client_settings(*, url: str | None = None, api_key: str | None = None) -> ClientSettings:
    """Settings from the environment, less what is given here. Raises ConfigurationError."""
    given: dict[str, Any] = {"url": url, "api_key": api_key}
    try:
        return ClientSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        sentences = [
            f"LONGHAUL_{str(one['loc'][0]).upper()}: {one['msg'].removeprefix('Value error, ')}."
            for one in error.errors()
        ]
        raise ConfigurationError("\n".join(sentences)) from None


def options(settings: ClientSettings) -> dict[str, Any]:
    """Arguments for httpx2's clients."""
    key = settings.api_key.get_secret_value() if settings.api_key else None
    return {
        "base_url": settings.url,
        "headers": {"Authorization": f"Bearer {key}"} if key else {},
        "timeout": timeout(_USUAL_SECONDS),
        # A proxy from the environment can't reach this machine's own loopback.
        "trust_env": not _is_loopback(httpx2.URL(settings.url).host),
    }


def request(call: Call[Any]) -> dict[str, Any]:
    """Arguments for httpx2's `request`."""
    return {
        "method": call.method,
        "url": call.path,
        "params": dict(call.query),
        "headers": dict(call.headers),
        "content": call.body,
        "timeout": timeout(_USUAL_SECONDS + call.patience_seconds),
    }


def timeout(read_seconds: float) -> httpx2.Timeout:
    return httpx2.Timeout(_USUAL_SECONDS, connect=_CONNECT_SECONDS, read=read_seconds)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
