"""How tasks run: Celery's settings, the one Celery task there is, and what Celery's main process tells the keeper.

Started by the keeper, in its own process, without the database's credentials.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from ssl import CERT_REQUIRED
from typing import Any
from urllib.parse import parse_qs, urlsplit

import structlog
from billiard.pool import EX_RECYCLE
from celery import Celery, bootsteps, signals
from celery.exceptions import SecurityWarning

from longhaul import doorbell, telemetry
from longhaul.settings import split_commas
from longhaul.task import load_tasks
from longhaul_worker.celery import consumer, pool, transport
from longhaul_worker.celery.upstream import trace_upstream_calls
from longhaul_worker.child.execute import Executor
from longhaul_worker.child.task_output import TaskOutput
from longhaul_worker.session import frames
from longhaul_worker.session.child import EXIT_KEEPER_GONE, ChildSession
from longhaul_worker.session.transport import connect

_log = structlog.get_logger(__name__)

PULSE_EVERY_SECONDS = 2.0

# It is about pickle, which is not accepted here, and takes any uid without a name for the superuser.
warnings.simplefilter("ignore", SecurityWarning)


def broker_url(redis_url: str) -> str:
    """A redis-py URL as kombu writes it: they differ for Unix sockets only."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    credentials = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return f"redis+socket://{credentials}{parts.path}?virtual_host={database}"


def settings(redis_url: str) -> dict[str, Any]:
    """Celery's settings. What each of them leaves to the ledger: docs/explanation/celery-settings.md."""
    return {
        "broker_url": broker_url(redis_url),
        # kombu would trust any certificate. What the URL's query says of TLS goes before this.
        "broker_use_ssl": {"ssl_cert_reqs": CERT_REQUIRED} if redis_url.startswith("rediss:") else None,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "socket_timeout": 5,  # more than the 1 s of BRPOP
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "priority_steps": [0],  # each priority would be a list of its own
        },
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_acks_late": False,  # a doorbell may be lost at no cost: the ledger remembers
        "task_default_queue": doorbell.key("default"),
        "worker_consumer": "longhaul_worker.celery.consumer:Consumer",
        "worker_pool": "longhaul_worker.celery.pool:Pool",
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,  # `task_output` does
        "worker_proc_alive_timeout": 60.0,  # 4 s: on a busy node Celery killed children that were still starting
    }


transport.register()
app = Celery("longhaul")
app.conf.update(settings(os.environ.get("LONGHAUL_REDIS_URL", "redis://localhost:6379/0")))


class _Child:
    """What a pool child holds: the tasks that it knows, and what runs them."""

    session: ChildSession | None = None
    tasks: dict[str, Any] = {}  # noqa: RUF012 - one a process: filled before the fork, shared by its jobs
    kept_sockets: frozenset[int] = frozenset()
    """Descriptors of the sockets that the tasks' modules opened when they were imported."""
    executor: Executor | None = None


@app.task(name=doorbell.CELERY_TASK, bind=True)
def hear_doorbell(self: Any) -> None:
    """Answer one doorbell: the routing key says which queue has work."""
    executor = _Child.executor = _Child.executor or _create_executor()
    queue = self.request.delivery_info["routing_key"].removeprefix(doorbell.key(""))
    if not executor.answer_doorbell(queue):
        sys.exit(EX_RECYCLE)  # billiard starts another child in this one's place


@signals.setup_logging.connect
def _set_up_logs(**_: Any) -> None:
    telemetry.setup_logs(
        "celery",
        log_format=os.environ.get("LONGHAUL_LOG_FORMAT", "json"),
        log_level=os.environ.get("LONGHAUL_LOG_LEVEL", "info"),
    )
    # Its traceback of a lost child says nothing of the job; the keeper tells that, with the evidence.
    logging.getLogger("celery.worker.request").setLevel(logging.CRITICAL)
    logging.getLogger("celery.app.trace").setLevel(logging.CRITICAL)


@signals.worker_init.connect
def _load_tasks(**_: Any) -> None:
    # Before the fork, so that children share the imported code's memory.
    modules = split_commas(os.environ.get("LONGHAUL_TASKS", ""))
    assert isinstance(modules, list)
    _Child.tasks = load_tasks(modules)
    _Child.kept_sockets = frozenset(_sockets())
    if _is_traced():
        trace_upstream_calls()


@signals.worker_process_init.connect
def _start_child(**_: Any) -> None:
    _drop_sockets_of_main()
    if _is_traced():
        telemetry.setup_traces("longhaul-worker")  # after the fork: its sender is a thread
    try:
        _Child.session = connect()
    except OSError as error:
        # Celery logs what is raised here, and would hand doorbells to a child that can ask nobody for a job.
        _log.error("keeper_unreachable", error=str(error))
        os._exit(EXIT_KEEPER_GONE)


def _sockets() -> Iterator[int]:
    """The descriptors of this process that are sockets."""
    for descriptor in [int(path.name) for path in Path("/dev/fd").iterdir()]:
        with suppress(OSError):  # the listing's own, which is closed
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                yield descriptor


def _drop_sockets_of_main() -> None:
    """Let go of what Celery's main process is connected to: its Redis, where a task that writes to a wrong descriptor would be
    read as its commands, and its keeper, which would not see it die.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in set(_sockets()) - _Child.kept_sockets:
        # Not closed: an object of the main process still has this number, and would use or close what got it next.
        os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)


def _create_executor() -> Executor:
    # At the first doorbell: billiard sets its signal handlers after `_start_child`.
    assert _Child.session is not None
    output = TaskOutput(_Child.session, level=os.environ.get("LONGHAUL_TASK_LOG_LEVEL", "info"))
    output.install()
    return Executor(_Child.session, _Child.tasks, output)


def _is_traced() -> bool:
    return bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))


@signals.worker_process_shutdown.connect
def _end_child(**_: Any) -> None:
    telemetry.flush_traces()


class KeeperReports(bootsteps.StartStopStep):
    """In Celery's main process: pulses from its own event loop, and how each pool child ended."""

    requires = ("celery.worker.components:Hub", "celery.worker.components:Timer", "celery.worker.components:Pool")
    socket: socket.socket | None = None

    def start(self, worker: Any) -> None:
        KeeperReports.socket = socket.socket(socket.AF_UNIX)
        KeeperReports.socket.connect(os.environ[frames.SOCKET_VARIABLE])
        pool.on_exit = lambda pid, exit_code: self._send(frames.ChildExited(pid=pid, exit_code=exit_code))
        consumer.on_wait = partial(self._wait, worker)
        transport.on_drop = lambda: self._send(frames.DoorbellDropped())
        worker.timer.call_repeatedly(PULSE_EVERY_SECONDS, self._pulse)
        self._pulse()

    def register_with_event_loop(self, worker: Any, hub: Any) -> None:
        # Again after each outage of Redis: Celery then starts with an empty loop.
        hub.add_reader(KeeperReports.socket, self._reap, worker.pool)
        hub.call_soon(worker.pool.maintain_pool)  # to replace the children that died meanwhile

    def _reap(self, celery_pool: Any) -> None:
        assert KeeperReports.socket is not None
        if not KeeperReports.socket.recv(4096):
            os._exit(EXIT_KEEPER_GONE)  # the keeper is gone: its children must not go on
        celery_pool.maintain_pool()

    def _wait(self, worker: Any) -> None:
        self._pulse()
        worker.pool.maintain_pool()  # to tell who has died

    def _pulse(self) -> None:
        self._send(frames.Pulse())

    def _send(self, frame: frames.Frame) -> None:
        assert KeeperReports.socket is not None
        try:
            KeeperReports.socket.sendall(frames.encode(frame))
        except OSError:
            os._exit(EXIT_KEEPER_GONE)


app.steps["worker"].add(KeeperReports)
