"""Times as people type and read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def seconds_in(text: str) -> float:
    """Seconds in `90s`, `1.5h`, `7d` or `1h30m`. Raises ValueError."""
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise ValueError("write 90s, 15m, 2h, 7d or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def parse_duration(text: str) -> float:
    """As `seconds_in`, for a command's options. Raises typer.BadParameter."""
    try:
        return seconds_in(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no duration: {error}.") from None


def parse_moment(text: str, now: datetime) -> datetime:
    """`2026-01-31T08:00`, or a duration from now: `15m` later, `-1d` ago. Raises typer.BadParameter.

    A time without a zone is in this machine's.
    """
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        pass
    try:
        seconds = parse_duration(text.lstrip("+-"))
    except typer.BadParameter:
        raise typer.BadParameter(f"{text!r} is no time: write 2026-01-31T08:00, 15m or 2h.") from None
    return now + timedelta(seconds=-seconds if text.startswith("-") else seconds)


def utc_now() -> datetime:
    return datetime.now(UTC)


def ago(moment: datetime | None, now: datetime) -> str:
    """`3m ago`, `in 2h`; empty where there is no moment."""
    if moment is None:
        return ""
    seconds = (now - moment).total_seconds()
    return f"{spell_seconds(seconds)} ago" if seconds >= 0 else f"in {spell_seconds(-seconds)}"


def spell_seconds(seconds: float) -> str:
    """The two largest units: `1.2s`, `3m 20s`, `2d 4h`."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, whole = divmod(whole, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
