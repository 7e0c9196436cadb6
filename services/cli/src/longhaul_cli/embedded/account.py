"""Whom the embedded servers run as, and how a process of that account is started."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from longhaul.errors import ConfigurationError
from longhaul_cli.embedded import launcher


@dataclass(frozen=True)
class Account:
    """A user of this machine."""

    name: str
    uid: int
    gid: int

    @property
    def is_another(self) -> bool:
        """Whether it is not the user of this process, who is root then."""
        return self.uid != os.geteuid()

    def launch(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        log: int,
        end_signal: signal.Signals = signal.SIGTERM,
        inherit: tuple[int, ...] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a program as this account, in a session of its own (Ctrl-C in the terminal does not reach it).

        Where this process dies, the kernel sends the program `end_signal` (Linux only). `log` is the file descriptor
        for its output, `inherit` are others that it keeps.
        """
        facts = [str(fact) for fact in (self.uid, self.gid, int(end_signal), os.getpid(), folder)]
        return (
            _spawner(os.getpid())
            .submit(
                subprocess.Popen,
                # -I and -S: nothing of the user's environment, and a start in 15 ms.
                [sys.executable, "-I", "-S", launcher.__file__, *facts, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=inherit,
                env={"LC_ALL": "C", "PATH": os.defpath, **_library_path()},
            )
            .result()
        )


def _library_path() -> dict[str, str]:
    """A Python from an environment module does not run without it."""
    return {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}


@cache
def _spawner(pid: int) -> ThreadPoolExecutor:
    """The parent whose death the kernel watches is the *thread* that forked (prctl(2)): this one lives as long as the
    process with this id."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"server-spawner-{pid}")


def server_account() -> Account:
    """Oneself; but for root an account without rights, because PostgreSQL refuses to run as root.

    Raises ConfigurationError where the machine has no such account.
    """
    if os.geteuid() != 0:
        try:
            return Account(pwd.getpwuid(os.geteuid()).pw_name, os.geteuid(), os.getegid())
        except KeyError:
            raise ConfigurationError(
                f"PostgreSQL does not start for a user without a name, and this machine has none for {os.geteuid()}: "
                "run Longhaul as a user in /etc/passwd, or name a server of your own with LONGHAUL_DATABASE_URL."
            ) from None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise ConfigurationError(
        "PostgreSQL refuses to run as root, and this machine has no user `postgres` or `nobody` to run it as: "
        "run Longhaul as an ordinary user."
    )
