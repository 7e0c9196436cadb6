"""`reference/settings.md`: every environment variable, from the settings classes."""

from __future__ import annotations

from typing import Any

from docs.generator.attributes import attributes_of
from docs.generator.markdown import code, codes, table
from pydantic_settings import BaseSettings

from longhaul.client import ClientSettings
from longhaul.settings import Settings
from longhaul_api.settings import ApiSettings
from longhaul_controller.settings import ControllerSettings
from longhaul_worker.settings import WorkerSettings

_PAGE = """# Settings

All settings come from environment variables. Times are in seconds. A setting that is missing or contradicts another stops
the process at its start, with a sentence for each.

## Every process

Read by the API, the worker and the controller.

{common}

## The API

Read by `longhaul-api`.

{api}

## A worker

Read by `longhaul-worker`.

{worker}

## The controller

Read by `longhaul-controller`.

{controller}

## The client

Read by `longhaul`, the command line, and by `longhaul.client`.

{client}"""
_BOUNDS = {"exclusiveMinimum": "> ", "minimum": "≥ ", "exclusiveMaximum": "< ", "maximum": "≤ "}
_FORMATS = {"path": "path", "password": "secret text"}


def page() -> str:
    """The page's Markdown, without its head."""
    return _PAGE.format(
        common=_table(Settings),
        api=_table(ApiSettings),
        worker=_table(WorkerSettings),
        controller=_table(ControllerSettings),
        client=_table(ClientSettings),
    )


def _table(cls: type[BaseSettings]) -> str:
    properties = cls.model_json_schema(by_alias=False)["properties"]
    rows = []
    for attribute in attributes_of(cls):
        if (field := cls.model_fields.get(attribute.name)) is None:
            continue
        schema = properties[attribute.name]
        variable = str(field.validation_alias or f"LONGHAUL_{attribute.name.upper()}")
        default = "required" if field.is_required() else _default(schema, attribute.factory)
        rows.append((code(variable), _type(schema), default, attribute.text))
    return table(("variable", "type", "default", "what it does"), rows)


def _default(schema: dict[str, Any], factory: str) -> str:
    match schema.get("default"):
        case None:
            return code(factory) if factory else "none"
        case bool(value):
            return code(str(value).lower())
        case float(value):
            return code(f"{value:.10g}")
        case list(values):
            return code(",".join(values))
        case value:
            return code(value)


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return _type(next(one for one in schema["anyOf"] if one.get("type") != "null"))
    if "enum" in schema:
        return codes(schema["enum"])
    if schema["type"] == "array":
        return "names, parted by commas"
    name = _FORMATS.get(schema.get("format", ""), "text" if schema["type"] == "string" else schema["type"])
    return ", ".join([name, *(f"{sign}{schema[bound]:g}" for bound, sign in _BOUNDS.items() if bound in schema)])
