"""A wall clock that is wrong for some processes only: a small library, preloaded, that shifts what they read."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("clock.c")


class WrongClock:
    """`environment` is for processes that shall read it; `shift` also moves it under those that run."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None or sys.platform != "linux":
            pytest.skip("A wrong clock for one process needs Linux and a C compiler (cc).")
        library, self._file = folder / "clock.so", folder / "clock"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE)], check=True)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(self._file)}
        self.shift(0)

    def shift(self, seconds: int) -> None:
        """Read so much more than the true time from now on."""
        whole = self._file.with_suffix(".new")
        whole.write_text(str(seconds))
        whole.replace(self._file)

    def read(self) -> float:
        """What a process with this environment reads now: seconds since the epoch."""
        answer = subprocess.run(
            [sys.executable, "-c", "import time; print(time.time())"],
            env=self.environment,
            capture_output=True,
            check=True,
            text=True,
        )
        return float(answer.stdout)
