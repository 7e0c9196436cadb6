"""What tasks call over the network, as a part of their traces."""

from __future__ import annotations

import os
from importlib.metadata import entry_points

import structlog
from opentelemetry.instrumentation.dependencies import DependencyConflictError

_log = structlog.get_logger(__name__)


def trace_upstream_calls() -> None:
    """Turn on every OpenTelemetry instrumentation that is installed: of httpx and requests always, of others where a
    task's own requirements name one. `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS` (names with commas) leaves some out.
    """
    disabled = os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").replace(" ", "").split(",")
    for entry in entry_points(group="opentelemetry_instrumentor"):
        if entry.name in disabled:
            continue
        try:
            entry.load()().instrument(raise_exception_on_conflict=True)
        except (ImportError, DependencyConflictError) as error:
            _log.debug("not_instrumented", library=entry.name, reason=str(error))
