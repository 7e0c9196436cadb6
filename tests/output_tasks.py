"""Tasks that print and log, and those that change how: in their own process, for themselves and for who comes next."""

from __future__ import annotations

import contextvars
import decimal
import faulthandler
import gc
import locale
import logging
import logging.config
import os
import resource
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import structlog
from pydantic import BaseModel

from longhaul import Job, SoftTimeout, task

LINES = ("by print", "by stderr", "by logging", "by its own handler", "by structlog")
TENANT: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


class Text(BaseModel):
    text: str = ""


class Found(BaseModel):
    state: dict[str, Any]


def say() -> None:
    """Each of `LINES`, in the way that it names."""
    print("by print")
    print("by stderr", file=sys.stderr)
    logging.getLogger("a.library").info("by logging")
    apart = logging.getLogger("apart")
    apart.propagate = False
    apart.handlers = [logging.StreamHandler()]
    apart.info("by its own handler")
    structlog.get_logger().info("by structlog", size=3)


@task(name="output.says", retries=0)
def says(_job: Job, _params: Text) -> Text:
    say()
    return Text(text="said")


def _drop(*_: Any) -> MutableMapping[str, Any]:
    raise structlog.DropEvent


def _dict_config(**handler: Any) -> None:
    handlers = {"console": {"class": "logging.StreamHandler", **handler}}
    logging.config.dictConfig(
        {"version": 1, "handlers": handlers, "root": {"handlers": ["console"], "level": "CRITICAL"}}
    )


def _structlog_over_logging() -> None:
    """As structlog's documentation has it, with a handler that prints."""
    logging.basicConfig(format="%(message)s", stream=sys.stdout, level=logging.INFO, force=True)
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, structlog.processors.JSONRenderer()],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _filter() -> None:
    root = logging.getLogger()
    root.addFilter(lambda _: False)
    for handler in root.handlers:
        handler.addFilter(lambda _: False)
        handler.setLevel(logging.CRITICAL)


CONFIGURATIONS: dict[str, Callable[[], None]] = {
    "dictConfig": _dict_config,
    "dictConfig to stdout": lambda: _dict_config(stream="ext://sys.stdout"),
    "basicConfig": lambda: logging.basicConfig(force=True, level=logging.ERROR),
    "structlog over logging": _structlog_over_logging,
    "structlog's processors": lambda: structlog.configure(processors=(structlog.processors.JSONRenderer(),)),
    "structlog that drops": lambda: structlog.configure(processors=[_drop]),
    "structlog's defaults": structlog.reset_defaults,
    "disable": lambda: logging.disable(logging.CRITICAL),
    "no handlers": logging.getLogger().handlers.clear,
    "the root's level": lambda: logging.getLogger().setLevel(logging.CRITICAL),
    "filters": _filter,
    "shutdown": logging.shutdown,
}


@task(name="output.configures", timeout=20, retries=0)
def configures(_job: Job, params: Text) -> Text:
    CONFIGURATIONS[params.text]()
    say()
    return params


def _name_of(handler: Any) -> str:
    """Its address may be another one in another process."""
    return getattr(handler, "__qualname__", None) or str(handler)


@task(name="output.looks", retries=0)
def looks(_job: Job, _params: Text) -> Found:
    """What tasks share that run in one process, one after another."""
    umask = os.umask(0)
    os.umask(umask)
    return Found(
        state={
            "folder": str(Path.cwd()),
            "umask": umask,
            "environment": dict(os.environ),
            "time zone": time.tzname,
            "limits": [resource.getrlimit(limit) for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)],
            "signals": {number: _name_of(signal.getsignal(number)) for number in sorted(signal.valid_signals())},
            "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
            "timer": signal.getitimer(signal.ITIMER_REAL),
            "recursion": sys.getrecursionlimit(),
            "switches": sys.getswitchinterval(),
            "sockets": socket.getdefaulttimeout(),
            "collects": gc.isenabled(),
            "locale": locale.setlocale(locale.LC_ALL),
            "warnings": [str(one) for one in warnings.filters],
            "decimals": decimal.getcontext().prec,
            "profile": sys.getprofile() is None,
            "out": (sys.stdout.encoding, sys.stdout.errors, sys.stdout.writable(), sys.stdout.closed),
            "hooks": [hook.__module__ for hook in (sys.excepthook, threading.excepthook)],
            "tenant": TENANT.get(),
            "structlog": structlog.contextvars.get_contextvars(),
            "pid": os.getpid(),
        }
    )


def _nothing(*_: Any) -> None:
    pass


@task(name="output.ticks", timeout=30, retries=0)
def ticks(_job: Job, _params: Text) -> Text:
    """A signal handler writes whatever the main thread is doing."""
    ticked = 0

    def tick(*_: object) -> None:
        nonlocal ticked
        ticked += 1
        sys.stdout.write(f"tick {ticked}\n")

    signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    for number in range(200):
        sys.stdout.write(f"line {number}\n")
    while ticked < 5:
        time.sleep(0.002)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return Text(text=str(ticked))


@task(name="output.saves", timeout=10, soft_timeout=0.3, retries=0)
def saves(_job: Job, _params: Text) -> Text:
    """The pattern of the how-to."""
    try:
        time.sleep(60)
    except SoftTimeout:
        return Text(text="saved")
    return Text()


@task(name="output.closes", retries=0)
def closes(_job: Job, _params: Text) -> Text:
    """What can't be opened again."""
    assert sys.__stderr__ is not None
    sys.__stderr__.close()
    return Text()


@task(name="output.changes", retries=0)
def changes(_job: Job, _params: Text) -> Text:
    """All that `output.looks` finds."""
    os.chdir("/")
    os.umask(0o077)
    os.environ.update(TENANT_TOKEN="secret", TZ="Asia/Tokyo")
    del os.environ["HOME"]
    time.tzset()
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGUSR2, signal.SIGRTMIN):
        signal.signal(number, _nothing)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR2})
    signal.setitimer(signal.ITIMER_REAL, 3600)
    sys.setrecursionlimit(200)
    sys.setswitchinterval(0.5)
    socket.setdefaulttimeout(0.001)
    gc.disable()
    locale.setlocale(locale.LC_ALL, "C")
    warnings.simplefilter("error")
    decimal.getcontext().prec = 3
    sys.setprofile(_nothing)
    faulthandler.register(signal.SIGUSR2)
    sys.stdout.close()
    sys.excepthook = threading.excepthook = _nothing
    TENANT.set("somebody")
    structlog.contextvars.bind_contextvars(customer="somebody")
    return Text()
