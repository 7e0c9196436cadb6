"""What a task may say: texts that can be encoded, JSON that the ledger can store and everybody can read back.

The ledger is PostgreSQL, which refuses NUL and lone surrogates in texts; its readers use orjson, which refuses integers
past 64 bits, and pydantic, which refuses nesting past 200 levels. Texts are made fit, since no log line is worth an hour
of work; values of which a program reads every digit are refused.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from typing import Final

import orjson
import pydantic_core
from pydantic import JsonValue

from longhaul.errors import SoftTimeout, Unstorable

MAX_MESSAGE_BYTES: Final = 8 * 1024
"""Of a log line, a progress message or an error's message."""
MAX_TRACEBACK_BYTES: Final = 16 * 1024
MAX_DATA_BYTES: Final = 32 * 1024
"""Of the fields of a log line or the data of a progress report, as JSON."""
MAX_NESTING: Final = 128
"""Of arrays and objects. What carries a value nests it further on its way."""

_PYDANTIC_NESTING: Final = 200
_PADDING: Final = _PYDANTIC_NESTING - MAX_NESTING
_MARK_BYTES: Final = 64


def clean_text(value: object, *, max_bytes: int = MAX_MESSAGE_BYTES) -> str:
    """Text that can be stored: NUL and lone surrogates are escaped (`caf\\udce9`), and what is longer than `max_bytes` of
    UTF-8 loses its middle, with a mark. A `__str__` that raises is named instead: only the soft limit, which may find a
    task in there, goes on.
    """
    text = value if type(value) is str else _text_of(value)
    length = len(text)
    if length > 2 * max_bytes:  # before it is encoded: it may be a gigabyte
        text = text[:max_bytes] + text[-max_bytes:]
    encoded = text.encode("utf-8", errors="backslashreplace").replace(b"\0", rb"\x00")
    if len(encoded) <= max_bytes:
        return encoded.decode()
    half = (max_bytes - _MARK_BYTES) // 2
    if half < _MARK_BYTES:
        return encoded[:max_bytes].decode(errors="ignore")
    head, tail = encoded[:half].decode(errors="ignore"), encoded[-half:].decode(errors="ignore")
    return f"{head}… (cut: {length:,} characters in all) …{tail}"


def _text_of(value: object) -> str:
    try:
        text = str(value)
        return text if type(text) is str else str.__str__(text)
    except SoftTimeout:
        raise
    except BaseException as error:  # noqa: BLE001 - somebody's __str__ may raise anything
        return f"<{type(value).__name__} whose text can't be read: {type(error).__name__}>"


def encode_json(value: object, *, what: str, max_bytes: int | None = None) -> bytes:
    """JSON text that can be stored and read back. `what` begins the message of the error, such as `job.checkpoint()`.

    Raises Unstorable, which says where the value does not fit.
    """
    try:
        encoded = orjson.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unstorable(f"{what} takes JSON that can be stored: {clean_text(error)}.") from None
    if is_nested_too_deep(encoded):
        raise Unstorable(f"{what} takes at most {MAX_NESTING} levels of nesting.")
    # orjson stores what is not finite as null, without a word.
    if b"null" in encoded and (place := find_not_finite(value)) is not None:
        raise Unstorable(f"{what} takes finite numbers: {place}. Send None or a text instead.")
    if max_bytes is not None and len(encoded) > max_bytes:
        raise Unstorable(
            f"{what} got {len(encoded):,} bytes and the limit is {max_bytes:,}: keep large data in files or object"
            " storage, and send where it is."
        )
    return encoded


def is_nested_too_deep(encoded: bytes) -> bool:
    """Whether JSON text has more levels than `MAX_NESTING`."""
    if encoded.count(b"[") + encoded.count(b"{") <= MAX_NESTING:
        return False
    try:
        pydantic_core.from_json(b"[" * _PADDING + encoded + b"]" * _PADDING)
    except ValueError:
        return True
    return False


def find_not_finite(value: object) -> str | None:
    """Where a NaN or an infinity is; None if all numbers are finite."""
    pending: list[tuple[str, object]] = [("the value", value)]
    while pending:
        path, item = pending.pop()
        if isinstance(item, float):
            if not math.isfinite(item):
                return f"{path} is {item}"
        elif isinstance(item, Mapping):
            pending += [(f"{path}[{clean_text(key, max_bytes=64)!r}]", nested) for key, nested in item.items()]
        elif is_dataclass(item):
            pending += [(f"{path}.{field.name}", getattr(item, field.name, None)) for field in fields(item)]
        elif isinstance(item, Collection) and not isinstance(item, str | bytes | bytearray | memoryview):
            pending += [(f"{path}[{index}]", nested) for index, nested in enumerate(item)]
    return None


def decode_data(data: dict[str, JsonValue], *, what: str) -> dict[str, JsonValue]:
    """`data` as plain JSON of at most 32 KiB. Raises Unstorable."""
    plain: dict[str, JsonValue] = orjson.loads(encode_json(data, what=what, max_bytes=MAX_DATA_BYTES))
    return plain


def log_fields(data: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Fields of a log line, whatever they hold: what is no storable JSON, or too large, is logged as text."""
    try:
        return decode_data(data, what="job.log()")
    except Unstorable:
        kept = list(data.items())[:_MAX_FIELDS]
        room = MAX_DATA_BYTES // len(kept)
        while True:
            texts = {
                clean_text(key, max_bytes=min(room, 256)): clean_text(value, max_bytes=room) for key, value in kept
            }
            if len(orjson.dumps(texts)) <= MAX_DATA_BYTES:
                return dict(texts)
            room //= 2  # JSON writes a control character as six


_MAX_FIELDS: Final = 64
"""Of those that are logged as text."""
