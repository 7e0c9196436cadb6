"""`reference/api.md`: every address of the API with its answers, from its own OpenAPI."""

from __future__ import annotations

import inspect
import re
from typing import Any

from docs.generator.markdown import code, codes, table
from fastapi import FastAPI
from fastapi.routing import APIWebSocketRoute

Document = dict[str, Any]
_PAGE = """# API, version 1

The API tells all of this itself at `GET /openapi.json`. Bodies and answers are JSON; the names of models lead to their
fields. Errors are `application/problem+json`: [errors](errors.md) has every code.

Every address under `/v1` may also answer 401 `unauthenticated`, 403 `forbidden`, 500 `internal`, and 503 `ledger_unavailable` or
`ledger_refuses` (with `Retry-After`): the tables below leave these out. Every answer carries `X-Request-Id`.

{operations}

## Beside the contract

{others}

## Models

{models}"""
_CODE = re.compile(r"^`(\w+)`:", re.MULTILINE)
_EVERYWHERE = {"401", "403", "500", "503"}
_LARGEST_BOUND_TOLD = 2**30
"""Those near 2**31 and 2**63 only say what the wire can hold."""


def page(app: FastAPI) -> str:
    """The page's Markdown, without its head."""
    document = app.openapi()
    websockets = [route for route in app.routes if isinstance(route, APIWebSocketRoute)]
    parts, tag = [], ""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                parts.append(f"## {tag.capitalize()}")
            parts += _operation(method.upper(), path, operation)
        # The document can't hold these: each stands behind the stream that carries the same.
        parts += [_websocket(one) for one in websockets if one.path.replace("/ws", "/events") == path]
    models = [
        _model(name, one) for name, one in sorted(document["components"]["schemas"].items()) if "properties" in one
    ]
    return _PAGE.format(operations="\n\n".join(parts), others=_others(app), models="\n\n".join(models))


def _operation(method: str, path: str, operation: Document) -> list[str]:
    parts = [f"### {method} {path}", operation["description"]]
    parameters = [
        (code(one["name"]), one["in"], _type(one["schema"]), _text(one) or _text(one["schema"]))
        for one in operation.get("parameters", [])
        if one["in"] != "path"
    ]
    if parameters:
        parts.append(table(("parameter", "in", "type", "meaning"), parameters))
    if body := operation.get("requestBody"):
        parts.append(f"Body: {_type(body['content']['application/json']['schema'])}.")
    answers = sorted(operation["responses"].items())
    rows = [(status, *_answer(one)) for status, one in answers if status not in _EVERYWHERE]
    return [*parts, table(("answer", "body", "meaning"), rows)]


def _answer(answer: Document) -> tuple[str, str]:
    text = _text(answer).replace("Successful Response", "")
    if found := _CODE.findall(text):
        return "[problem](errors.md)", codes(found)
    body = ""
    for media_type, content in answer.get("content", {}).items():
        body = _type(content["schema"]) if media_type == "application/json" else code(media_type)
    headers = [f"{code(name)}: {one['description']}" for name, one in answer.get("headers", {}).items()]
    return body, " ".join([text, *headers])


def _websocket(route: APIWebSocketRoute) -> str:
    return f"### WebSocket {route.path}\n\n{inspect.getdoc(route.endpoint)}"


def _others(app: FastAPI) -> str:
    rows = [("`GET /`", "The console: a page to submit and watch jobs."), ("`GET /openapi.json`", "This contract.")]
    for route in app.routes:
        path, endpoint = getattr(route, "path", ""), getattr(route, "endpoint", None)
        if path in ("/livez", "/readyz", "/metrics"):
            rows.append((code(f"GET {path}"), inspect.getdoc(endpoint) or ""))
    return table(("address", "answer"), rows)


def _model(name: str, schema: Document) -> str:
    rows = [
        (code(field), _type(one), "" if field in schema.get("required", ()) else "optional", _text(one))
        for field, one in schema["properties"].items()
    ]
    return f"### {name}\n\n{_text(schema)}\n\n{table(('field', 'type', '', 'meaning'), rows)}"


def _type(schema: Document) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        plain = {"JsonValue": "any JSON", "State": "[state](states.md)", "Ending": "[ending](states.md)"}
        return plain.get(name) or f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_type, schema["anyOf"])))
    if "enum" in schema:
        return codes(schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    formats = {"uuid": "UUID", "date-time": "time"}
    name = formats.get(schema.get("format", ""), str(schema.get("type", "any JSON")))
    bounds = {"minimum": "≥ ", "exclusiveMinimum": "> ", "maximum": "≤ "}
    told = [one for one in bounds if one in schema and abs(schema[one]) < _LARGEST_BOUND_TOLD]
    return ", ".join([name, *(f"{bounds[one]}{schema[one]:.10g}" for one in told)])


def _text(schema: Document) -> str:
    return str(schema.get("description", ""))
