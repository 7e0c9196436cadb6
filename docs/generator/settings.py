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
_TEXTS = {
    "database_url": "The ledger: `postgresql://user:password@host:5432/database`.",
    "redis_url": "Where the doorbells are, and Celery's broker: `redis://:password@host:6379/0`.",
    "lease_seconds": "A worker that was not heard of for so long has lost its jobs; at least three renewals.",
    "renew_seconds": "Between two renewals of what a worker holds.",
    "log_format": "Of the log on stderr.",
    "log_level": "The least level that is logged.",
    "otlp_endpoint": "Where traces go (OTLP over HTTP); none are made where unset. OpenTelemetry's own variables count too.",
    "api_host": "The address to listen on.",
    "api_port": "The port to listen on; 0: any that is free.",
    "auth_mode": "`keys`: every request needs an API key. `none`: everyone may do everything; refused where others reach it.",
    "pool": "The name of the worker's pool: what the scaler counts running jobs by.",
    "queues": "The queues that this worker serves.",
    "worker_name": "What the worker is called.",
    "probe_host": "Where `/livez`, `/readyz`, `/startupz` and `/metrics` are answered.",
    "probe_port": "The port for them.",
    "spool_dir": "Keeps outcomes while the database is away. On a disk that outlives the process, so that a restart loses none.",
    "checkpoint_limit_bytes": "A larger checkpoint fails its job: keep large state in files.",
    "result_limit_bytes": "Without a result store, a larger result fails its job: store it, and return where it is.",
    "controller_probe_host": "Where `/livez`, `/readyz` and `/metrics` are answered.",
    "controller_probe_port": "The port for them.",
    "pod_namespace": "The namespace of the worker pods: the controller's own. Kubernetes writes it there.",
    "retention_interval_seconds": "Between two looks for what is old.",
    "url": "The API.",
    "api_key": "The key to send.",
}
"""What the code explains by a name alone."""
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
        rows.append((code(variable), _type(schema), default, _TEXTS.get(attribute.name) or attribute.text))
        assert rows[-1][-1], f"{variable} is explained neither by its class nor here"
    return table(("variable", "type", "default", "what it does"), rows)


def _default(schema: dict[str, Any], factory: str) -> str:
    match schema.get("default"):
        case None | "" | dict():
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
