"""Request bodies: strict JSON, bounded, into a model of the contract."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from longhaul.errors import InvalidRequest, RequestError

MAX_DEPTH = 64
"""Of arrays and objects in each other; far below where parsers give up."""
MAX_ERRORS = 20
"""Told in one answer."""
_LONG_INTEGER = re.compile(rb"[0-9]{19}")

M = TypeVar("M", bound=BaseModel)


def parse(body: bytes, model: type[M]) -> M:
    """The body as a model. Raises RequestError where it is not JSON, InvalidRequest where it does not fit."""
    check(body)
    return validate(body, model)


def validate(body: bytes, model: type[M]) -> M:
    """Checked JSON as a model. Raises InvalidRequest."""
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidRequest(errors=field_errors(errors)) from None


def check(body: bytes) -> Any:
    """The body as Python values. Refuses what some part of the way could not carry unchanged.

    Raises RequestError where it is not JSON, InvalidRequest where it is nested too deeply, or holds an integer beyond 64
    bits or a NUL character, which PostgreSQL's text can't hold.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"The body is not valid JSON: {error}.") from None
    # Most bodies show none of these; only the others are walked through.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH or b"\\u0000" in body:
        _check_values(value, MAX_DEPTH)
    if _LONG_INTEGER.search(body):
        json.loads(body, parse_int=_int64)
    return value


def field_errors(errors: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Pydantic's errors as `[{field, message}]`: a JSON pointer into the body, or the name of a parameter."""
    answers = []
    for one in list(errors)[:MAX_ERRORS]:
        place = [str(part) for part in one["loc"]]
        in_body = not place or place[0] not in ("query", "header")
        answers.append({"field": pointer(place) if in_body else place[1], "message": one["msg"]})
    return answers


def pointer(path: Iterable[str | int]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _check_values(value: Any, depth: int) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidRequest("A text holds a NUL character, which can't be stored: leave it out or encode it.")
    elif isinstance(value, dict | list):
        if depth == 0:
            raise InvalidRequest(f"The body is nested more than {MAX_DEPTH} levels deep: flatten it.")
        for one in value:
            _check_values(one, depth - 1)
        if isinstance(value, dict):
            for one in value.values():
                _check_values(one, depth - 1)


def _int64(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= (number := int(digits)) < 2**64:
        raise InvalidRequest("An integer does not fit into 64 bits: send it as a text.")
    return number
