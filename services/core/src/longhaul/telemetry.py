"""Logs, traces and the names that tie them together.

Logs are structlog events with fields. Traces go out over OTLP where `OTEL_EXPORTER_OTLP_ENDPOINT` is set; a job's trace
context is stored in the ledger, so that one trace reaches from the HTTP request to what the task calls an hour later.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import structlog
from opentelemetry import trace
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import Span, SpanKind

from longhaul.settings import Settings

_TRACER = "longhaul"


def setup(service: str, settings: Settings) -> None:
    """Configure logs and, where an endpoint is set, traces of this process."""
    setup_logs(service, log_format=settings.log_format, log_level=settings.log_level)
    if settings.otlp_endpoint:
        setup_traces(service)


def setup_logs(service: str, *, log_format: str, log_level: str) -> None:
    """structlog for our events, and the same output for what libraries log through `logging`."""
    level = getattr(logging, log_level.upper())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace_id,
        lambda _logger, _method, event: {"service": service, **event},
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=LineLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = _LineHandler()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=list(shared), processor=renderer))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))


class Writable(Protocol):
    """What a log line can be written to."""

    def write(self, text: str, /) -> object:
        """Write text, one line with its end at a time."""


class StandardError:
    """The standard error that this process was started with.

    A line is one system call, without a buffer or a lock: a signal handler may log while its own thread logs. A line that
    nobody takes is dropped: a log collector that is gone, or a full disk, must not change what a process does.
    """

    def write(self, text: str, /) -> None:
        """Raises nothing."""
        stream = sys.__stderr__
        if stream is None or stream.closed:
            return  # its descriptor's number may mean another file by now
        rest = text.encode(errors="backslashreplace")
        with suppress(OSError, ValueError):
            while rest:
                rest = rest[os.write(stream.fileno(), rest) :]


class LineLogger:
    """What structlog hands rendered lines to. Raises nothing that writing them raises."""

    def __init__(self, file: Writable) -> None:
        self._file = file

    def msg(self, line: str) -> None:
        # RuntimeError: a buffered stream refuses a signal handler that interrupts its own write.
        with suppress(OSError, ValueError, RuntimeError):
            self._file.write(f"{line}\n")

    log = debug = info = warn = warning = err = error = critical = exception = fatal = failure = msg


class LineLoggerFactory:
    """Makes the loggers of structlog; without a file they write to `StandardError`."""

    def __init__(self, file: Writable | None = None) -> None:
        self._file = file or StandardError()

    def __call__(self, *_: Any) -> LineLogger:
        return LineLogger(self._file)


class _LineHandler(logging.Handler):
    """The same for `logging`."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - arguments that do not fit the message, or whose __str__ raises
            self.handleError(record)
        else:
            StandardError().write(f"{line}\n")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name of `logging`
        with suppress(ValueError):  # the output is closed
            super().handleError(record)


def add_processors(*, every: Any, own: Any, last: Any) -> None:
    """Add structlog processors to a process whose logs are set up: `every` for all lines, `own` for structlog's events, and
    `last` for the lines that are made from these."""
    # In place: a logger that was bound before keeps the list that it was bound with.
    processors = structlog.get_config()["processors"]
    processors.insert(0, every)
    processors.insert(len(processors) - 1, own)
    processors.append(last)
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter):
            assert isinstance(handler.formatter.foreign_pre_chain, list)
            handler.formatter.foreign_pre_chain.insert(0, every)


def setup_traces(service: str) -> None:
    """Send spans over OTLP/HTTP in the background; the endpoint and headers are OpenTelemetry's own variables."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def flush_traces(timeout_seconds: float = 2.0) -> None:
    """Send what waits, before this process ends."""
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush:
        flush(int(timeout_seconds * 1000))


@contextmanager
def span(
    name: str, *, parent: str | None = None, kind: SpanKind = SpanKind.INTERNAL, **attributes: str | int | float
) -> Iterator[Span]:
    """A span around a block; `parent` is a W3C traceparent, where the parent is not in this process."""
    context = extract({"traceparent": parent}) if parent else None
    tracer = trace.get_tracer(_TRACER)
    with tracer.start_as_current_span(name, context=context, kind=kind, attributes=attributes) as current:
        yield current


def current_trace_context() -> str | None:
    """The W3C traceparent of the current span, to be stored or sent; None where nothing is traced."""
    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier.get("traceparent")


def trace_id_of(trace_context: str | None) -> str | None:
    """The trace id (32 hexadecimal digits) of a W3C traceparent."""
    return trace_context.split("-")[1] if trace_context else None


def _add_trace_id(_logger: Any, _method: str, event: Any) -> Any:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
    return event
