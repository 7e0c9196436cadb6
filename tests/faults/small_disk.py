"""A small file system of the test's own, to fill and to free again."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PIECE = b"\0" * 2**16


class SmallDisk:
    """`folder` is its root, which every user can enter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no byte free."""
        with self._ballast.open("ab", buffering=0) as file:
            for piece in (_PIECE, b"\0" * 512, b"\0"):
                while _fits(file.fileno(), piece):
                    pass

    def free(self) -> None:
        """Take away what `fill` put there."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(*, mebibytes: int) -> Iterator[SmallDisk]:
    """A disk of that size, until the end of the block. Skips the test where this user can't mount one."""
    folder = Path(tempfile.mkdtemp(prefix="longhaul-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0755", "tmpfs", str(folder)]
    try:
        if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
            pytest.skip("A full disk needs a small file system of its own, which only root may mount (mount -t tmpfs).")
        try:
            yield SmallDisk(folder)
        finally:
            # Lazily: a server that is still on its way out must not keep the folder.
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    finally:
        folder.rmdir()


def _fits(file: int, piece: bytes) -> bool:
    try:
        return os.write(file, piece) > 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
