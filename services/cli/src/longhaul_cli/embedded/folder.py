"""A server's private folder: who may enter it, who owns it now, and whether anything of the server is left.

Two locks hold that. `owner.lock` belongs to the process that may start the server. `server.lock` is inherited by the
server and all its children: whoever gets it knows that none of them lives, also after a kill -9.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import platformdirs

from longhaul.errors import ConfigurationError
from longhaul_cli.embedded import launcher
from longhaul_cli.embedded.account import Account

LONGEST_SOCKET_PATH = 103
"""Bytes that the path of a Unix socket may have: 103 on macOS, 107 on Linux."""


def default_home() -> Path:
    """The user's cache; for root the machine's (/var/cache/longhaul), which the servers' account can enter."""
    return platformdirs.site_cache_path("longhaul") if os.geteuid() == 0 else platformdirs.user_cache_path("longhaul")


class PrivateFolder:
    """The folder of one server."""

    def __init__(self, path: Path, account: Account) -> None:
        self.path = path
        self.account = account
        self._owner_lock: int | None = None

    @property
    def socket_folder(self) -> Path:
        """Where its Unix socket is: the folder itself, or the short one if that path would be too long, or has a comma,
        at which libpq parts a list of hosts."""
        fits = len(os.fsencode(self.path / ".s.PGSQL.65535")) <= LONGEST_SOCKET_PATH and "," not in str(self.path)
        return self.path if fits else self._short_folder

    @property
    def _short_folder(self) -> Path:
        """A private folder with a plain path, for what this folder's path does not allow; removed by `let_go`."""
        digest = sha256(os.fsencode(self.path)).hexdigest()[:16]
        return Path("/tmp") / f"longhaul-{self.account.uid}-{digest}"  # noqa: S108  # refused unless 0700 and ours

    def programs_folder(self) -> Path:
        """Where copies of programs go: the servers of one home share them, unless a shell would misread their path."""
        shared = self.path.parent / "programs"
        if _is_plain(shared):
            return shared
        self._make(self._short_folder)
        return self._short_folder / "programs"

    def own(self, program: Path) -> bool:
        """Create the folder unless it is there, and take it for this process until `let_go`.

        Returns whether the account can run `program` where it is. Raises ConfigurationError with what stands in the way.
        """
        if self._owner_lock is not None:
            return True
        can_run = not self.account.is_another or self._probe(program)
        self._make(self.path)
        self._make(self.socket_folder)
        lock = self._open("owner.lock")
        if not _locked(lock):
            os.close(lock)
            raise ConfigurationError(
                f"Another Longhaul is running on {self.path.parent}: stop that one, or choose another folder for this."
            )
        self._owner_lock = lock
        return can_run

    def let_go(self) -> None:
        """Leave the folder to whoever wants it."""
        if self._owner_lock is not None:
            shutil.rmtree(self._short_folder, ignore_errors=True)
            os.close(self._owner_lock)
            self._owner_lock = None

    def wait_until_empty(self, timeout_seconds: float) -> int:
        """Wait until no process of the server is left, and return `server.lock` for the next one to inherit.

        Raises ConfigurationError where one stays.
        """
        lock = self._open("server.lock")
        deadline = time.monotonic() + timeout_seconds
        pid = os.pread(lock, 20, 0).decode()
        asked = sys.platform == "linux"  # elsewhere nobody has told an orphan to end
        while not _locked(lock):
            if pid and not asked:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGINT)
                asked = True
            if time.monotonic() > deadline:
                os.close(lock)
                raise ConfigurationError(f"A server of an earlier run still works in {self.path}: end process {pid}.")
            time.sleep(0.02)
        return lock

    def write(self, name: str, text: str) -> None:
        """A file that the account and root can read, and nobody else: whole and on disk, or not there."""
        new = self.path / f"{name}.new"
        with os.fdopen(self._open(new.name, os.O_TRUNC), "w") as file:
            os.fchown(file.fileno(), self.account.uid, self.account.gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path / name)

    def open_log(self, name: str) -> int:
        """A file descriptor that appends."""
        return self._open(name, os.O_APPEND)

    def _open(self, name: str, flags: int = 0) -> int:
        # No link: the account could lead root's writing elsewhere with one.
        return os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | flags, 0o600)

    def _probe(self, program: Path) -> bool:
        nearest = next(folder for folder in (self.path, *self.path.parents) if folder.exists())
        code = self.account.launch([str(program), "--version"], folder=nearest, log=subprocess.DEVNULL).wait(30)
        if code == launcher.MAY_NOT_SWITCH:
            raise ConfigurationError(
                f"PostgreSQL refuses to run as root, and this root may not become `{self.account.name}`: "
                "run Longhaul as an ordinary user."
            )
        if code == launcher.CANT_ENTER:
            raise ConfigurationError(
                f"Root's servers run as `{self.account.name}`, who can't enter {nearest}: choose another folder."
            )
        return code != launcher.CANT_RUN

    def _make(self, path: Path) -> None:
        """Make `path` and what is missing above it, private to the account. What exists stays as it is."""
        try:
            for folder in (*reversed(path.parents), path):
                if not folder.exists():
                    folder.mkdir(mode=0o700, exist_ok=True)
                    if self.account.is_another:
                        os.chown(folder, self.account.uid, self.account.gid, follow_symlinks=False)
            found = path.lstat()
        except OSError as error:
            raise ConfigurationError(
                f"The folder {path} can't be made ({error.strerror}): choose one that `{self.account.name}` may write to."
            ) from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != self.account.uid or found.st_mode & 0o077:
            raise ConfigurationError(
                f"{path} is not a folder that only `{self.account.name}` can enter: remove it, or choose another folder."
            )


def _is_plain(path: Path) -> bool:
    """Whether a shell takes the path in double quotes as it is: initdb runs `sh -c '"/path/of/postgres" ...'`."""
    return not set(str(path)) & set('"$`\\')


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
