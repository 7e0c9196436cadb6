"""Tasks that make the mistakes at the seam to their keeper that real code makes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, JsonValue

from longhaul import Job, Retryable, SoftTimeout, task

OF_THE_MODULE = socket.socketpair()
"""Made when this module is imported, as a client of a metrics server is."""


class Nothing(BaseModel):
    pass


class Text(BaseModel):
    text: str = ""


class Value(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="constants")
    value: Any = None


class Mark(BaseModel):
    path: Path


@task(name="seam.saves_when_it_must_stop", soft_timeout=0.5, timeout=30, retries=0)
def saves_when_it_must_stop(job: Job, _params: Nothing) -> Text:
    """The pattern of the how-to, in a task that checkpoints all the time."""
    step = 0
    try:
        while True:
            step += 1
            job.checkpoint({"step": step})
    except SoftTimeout:
        job.checkpoint({"step": step})
        raise


@task(name="seam.alarm", timeout=30, retries=0)
def alarm(job: Job, params: Text) -> Text:
    """A time-out by a signal, as scraping code has it, that goes off while the task waits for its keeper."""

    def give_up(*_: object) -> None:
        raise InterruptedError("too slow")

    signal.signal(signal.SIGALRM, give_up)
    given_up = 0
    for _ in range(20):
        signal.setitimer(signal.ITIMER_REAL, 0.002)
        try:
            while True:
                job.checkpoint({"of": params.text})
        except InterruptedError:
            given_up += 1
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)  # and is never turned off
    return Text(text=f"{params.text} {given_up}")


@task(name="seam.echo", timeout=30, retries=0)
def echo(job: Job, params: Text) -> Text:
    time.sleep(0.05)
    job.progress(0.5, params.text)
    return params


class Odd(Exception):
    def __str__(self) -> str:
        return self.args[0]  # type: ignore[no-any-return]  # that is the mistake


class Own(BaseException):
    pass


class Unread(Exception):
    """Resists being looked at."""

    @property
    def __traceback__(self) -> Any:  # type: ignore[override]
        raise Own

    def __str__(self) -> str:
        raise Own


@dataclass(frozen=True)
class Frozen(Exception):
    row: int


@task(name="seam.raises", timeout=30, retries=0)
def raises(job: Job, params: Text) -> Text:
    job.log("before it")
    match params.text:
        case "odd":
            raise Odd(42)
        case "surrogate":
            raise ValueError(f"can't parse {os.fsdecode(b'caf%c.txt' % 0xE9)}")
        case "own":
            raise Own("of its own")
        case "frozen":
            raise Frozen(3)
        case "unread":
            raise Unread
        case "exit":
            sys.exit(3)
        case "recursion":
            return raises(job, params)
        case "delay":
            raise Retryable("busy", delay_seconds="soon")  # type: ignore[arg-type]  # as a header came
        case "huge":
            raise ValueError("x" * 3_000_000)
    raise KeyboardInterrupt


@task(name="seam.returns", timeout=30, retries=0)
def returns(_job: Job, params: Text) -> Value:
    deep: JsonValue = []
    for _ in range(5000):
        deep = [deep]
    values: dict[str, Any] = {"nan": float("nan"), "infinity": float("inf"), "huge": 10**400, "deep": deep}
    values["nan in a set"] = {float("nan")}
    for _ in range(150):
        values["levels"] = [values.get("levels")]
    return Value(value=values[params.text])


@task(name="seam.group", timeout=30, soft_timeout=4, retries=1, backoff=0.01, interruptible=True)
async def group(job: Job, params: Text) -> Text:
    """Ends by what leaves a group of tasks, which asyncio wraps."""

    async def end() -> None:
        while params.text in ("cancel", "drain"):
            job.checkpoint({"attempt": job.attempt})
            job.progress(0.5)
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.02)
        if params.text != "soft":
            raise ConnectionError("the other side is away")

    async def fail() -> None:
        await asyncio.sleep(0.01)
        if params.text == "both":
            raise Odd("a mistake")

    if job.attempt > 1:
        return Text(text="went on")
    async with asyncio.TaskGroup() as outer:
        outer.create_task(asyncio.sleep(20))
        async with asyncio.TaskGroup() as inner:
            for work in (end, fail):
                inner.create_task(work())
            await asyncio.sleep(20)
    return params


@task(name="seam.slow_texts", timeout=5, soft_timeout=0.5, retries=0)
def slow_texts(job: Job, params: Text) -> Text:
    """Is in the middle of a text of its own whenever the soft limit comes."""

    class Slow:
        def __str__(self) -> str:
            time.sleep(0.1)
            return "slow"

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                time.sleep(0.1)
            except Exception:  # noqa: BLE001 - as the handlers of `logging` do
                self.handleError(record)

    log = logging.getLogger("slow")
    log.handlers = [Handler()] if params.text == "handler" else []
    try:
        while True:
            match params.text:
                case "field":
                    job.log("slow", value=Slow())  # type: ignore[arg-type]  # that is the mistake
                case "argument":
                    log.warning("%s", Slow())
                case "event":
                    structlog.get_logger().warning("slow", value=Slow())
                case _:
                    log.warning("slow")
    except SoftTimeout:
        return Text(text="saved")


@task(name="seam.closes_twice", timeout=30, retries=0, max_interruptions=0)
def closes_twice(job: Job, _params: Nothing) -> Text:
    """Closes a descriptor that is no longer its own; a socket gets its number."""
    kept = []
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        with suppress(OSError), socket.socket(fileno=os.dup(number)) as found:
            if found.family == socket.AF_UNIX and found.getpeername():
                os.close(number)
                kept.append(socket.socketpair())
    time.sleep(0.1)
    return Text()


@task(name="seam.leaves", timeout=30, retries=0)
def leaves(job: Job, params: Text) -> Text:
    """Leaves something behind that goes on reporting."""

    def report() -> None:
        for _ in range(100):
            job.log(f"ghost of {job.id}")
            job.checkpoint({"ghost": str(job.id)})
            time.sleep(0.01)

    if params.text == "thread":
        threading.Thread(target=report, daemon=True).start()
    elif os.fork() == 0:
        if params.text == "fork reports":
            report()
        time.sleep(0.2)
    return params


@task(name="seam.starts", timeout=2, retries=0)
def starts(_job: Job, params: Mark) -> Text:
    """Starts a program that starts another one, which leaves its session and its parent. `path` gets a line from each."""
    program = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n    os.setsid()\n    os.fork() and os._exit(0)\n"
        "open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\n"
        "time.sleep(600)\n"
    )
    subprocess.Popen([sys.executable, "-c", program, str(params.path)])
    while (
        params.path.stem != "returns" or len(params.path.read_text().splitlines() if params.path.exists() else []) < 2
    ):
        time.sleep(0.01)
    return Text()


@task(name="seam.writes", timeout=30, retries=0)
def writes(job: Job, params: Text) -> Text:
    """Log lines in a burst, and then an error: none may be lost."""
    for number in range(int(params.text)):
        job.log(f"line {number}")
    raise ValueError("the end")


@task(name="seam.dies", timeout=30, retries=0, max_interruptions=0)
def dies(job: Job, params: Text) -> Text:
    job.log("last words")
    os.kill(os.getpid(), int(params.text)) if params.text != "exit" else os._exit(71)
    time.sleep(20)
    return Text()


@task(name="seam.forges", timeout=30, retries=0)
def forges(_job: Job, _params: Nothing) -> Text:
    """A process that the task starts asks the keeper for a job of its own."""
    program = (
        "import os, socket\n"
        "from longhaul_worker.session import frames\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.connect(os.environ[frames.SOCKET_VARIABLE])\n"
        "try:\n"
        "    s.sendall(frames.encode(frames.Hello(pid=os.getpid())))\n"
        "    s.sendall(frames.encode(frames.ClaimRequest(number=1, queue='default')))\n"
        "    print(s.recv(1000))\n"
        "except ConnectionError:\n"  # closed while it still wrote
        "    print(b'')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    return Text(text=done.stdout.decode().strip())


@task(name="seam.haunts", timeout=30, retries=0, max_interruptions=0)
def haunts(_job: Job, params: Mark) -> Text:
    """Dies, and leaves an orphan whose child asks the keeper for a job. `path` gets what that one was answered."""
    program = (
        "import os, socket, sys, time\n"
        "from longhaul_worker.session import frames\n"
        "parent = os.getppid()\n"
        "open(sys.argv[1], 'w')\n"
        "while os.getppid() == parent:\n"
        "    time.sleep(0.001)\n"
        "if os.fork() == 0:\n"
        "    s = socket.socket(socket.AF_UNIX)\n"
        "    s.connect(os.environ[frames.SOCKET_VARIABLE])\n"
        "    s.sendall(frames.encode(frames.Hello(pid=os.getpid())))\n"
        "    s.sendall(frames.encode(frames.ClaimRequest(number=1, queue='default')))\n"
        "    open(sys.argv[1], 'wb').write(s.recv(1000))\n"
        "time.sleep(600)\n"
    )
    subprocess.Popen([sys.executable, "-c", program, str(params.path)], start_new_session=True)
    while not params.path.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
    return Text()


@task(name="seam.writes_to_wrong_descriptors", timeout=30, retries=0, max_interruptions=0)
def writes_to_wrong_descriptors(_job: Job, params: Text) -> Text:
    """Write garbage to each pipe of this process, but for its standard streams, as after a double close."""
    garbage = {"text": b"garbage\n" * 20, "zeros": bytes(64), "huge": b"\x7f\xff\xff\xff", "pickle": b"\0\0\0\x05hello"}
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        with suppress(OSError):
            if number > 2 and stat.S_ISFIFO(os.fstat(number).st_mode):
                os.set_blocking(number, False)
                os.write(number, garbage[params.text])
    time.sleep(20)
    return Text()


@task(name="seam.writes_to_sockets", timeout=30, retries=0)
def writes_to_sockets(_job: Job, _params: Nothing) -> Text:
    """Writes garbage to each connection of this process, but for its keeper's, and says to how many; and something that can
    be read to the socket that this module opened."""
    reached = 0
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        with suppress(OSError), socket.socket(fileno=os.dup(number)) as found:
            if found.getpeername() not in ("", os.environ["LONGHAUL_KEEPER_SOCKET"]):
                found.sendall(b"garbage\r\n")
                reached += 1
    ours, theirs = OF_THE_MODULE
    ours.sendall(b"arrived")
    return Text(text=f"reached {reached}, {theirs.recv(100).decode()}")


@task(name="seam.looks_around", timeout=30, retries=0)
def looks_around(_job: Job, _params: Nothing) -> Text:
    """Tells which process it is, and which exception is being handled around it."""
    time.sleep(0.2)  # so that jobs that were submitted together run in all processes
    return Text(text=f"{os.getpid()} {sys.exception()!r}")


@task(name="seam.marks", timeout=30)
def marks(job: Job, params: Mark) -> Text:
    """Leaves a line for each attempt that really began."""
    with params.path.open("a") as file:
        file.write(f"{job.attempt}\n")
    return Text()


@task(name="seam.starts_and_works_on", timeout=60, retries=0, max_interruptions=0)
def starts_and_works_on(_job: Job, params: Mark) -> Text:
    """Has a program running, whose pid `path` gets."""
    program = subprocess.Popen(["/bin/sh", "-c", "sleep 600; true"])
    params.path.write_text(str(program.pid))
    program.wait()
    return Text()


@task(name="seam.tidies_up", timeout=30, retries=0, max_interruptions=0)
def tidies_up(_job: Job, _params: Nothing) -> Text:
    """Removes what is not its own, and dies."""
    Path(os.environ["LONGHAUL_KEEPER_SOCKET"]).unlink()
    os._exit(9)
