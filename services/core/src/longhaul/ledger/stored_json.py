"""JSON values of the ledger, for readers: whatever is stored can be read and shown, so that no row harms its neighbours.

PostgreSQL's `json` takes what parsers refuse: numbers of any size, half a surrogate pair, any depth. Longhaul writes none
of that, but whoever can write to the ledger may.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

SHOWN_LEVELS = 128
"""Of a value that is nested too deeply to be shown whole; orjson writes 254."""
_TOO_DEEP = "(nested too deeply to be shown)"
_TEXT_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}]', re.DOTALL)
_DOUBLE_DIGITS = 309
"""Of the largest integer that a double can hold."""


def loads(text: str | bytes) -> Any:
    """The value of a `json` column. What can't be held as it is stands there as text: a number beyond double precision as
    its digits, half a surrogate pair as its escape. What is nested a thousand levels deep is cut."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return _writable(json.loads(text, parse_int=_integer, parse_float=_float))
    except RecursionError:
        return loads(_cut_text(text.encode() if isinstance(text, str) else text))


def encode(value: Any) -> bytes:
    """JSON for readers of a value that `loads` gave. What is nested too deeply for that is cut."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(_cut(value, SHOWN_LEVELS))


def _integer(digits: str) -> int | float | str:
    if len(digits) > _DOUBLE_DIGITS + 1:
        return digits
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else _float(digits)


def _float(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, list):
        return [_writable(one) for one in value]
    if isinstance(value, dict):
        return {_writable(name): _writable(one) for name, one in value.items()}
    return value


def _cut_text(text: bytes) -> bytes:
    parts, position, level = [], 0, 0
    for found in _TEXT_OR_BRACKET.finditer(text):
        if found[0] in b"[{":
            level += 1
            if level == SHOWN_LEVELS + 1:
                parts.append(text[position : found.start()])
        elif found[0] in b"]}":
            if level == SHOWN_LEVELS + 1:
                parts.append(orjson.dumps(_TOO_DEEP))
                position = found.end()
            level -= 1
    return b"".join([*parts, text[position:]])


def _cut(value: Any, levels: int) -> Any:
    if isinstance(value, dict | list) and levels == 0:
        return _TOO_DEEP
    if isinstance(value, list):
        return [_cut(one, levels - 1) for one in value]
    if isinstance(value, dict):
        return {name: _cut(one, levels - 1) for name, one in value.items()}
    return value
