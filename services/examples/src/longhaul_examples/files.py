"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

UNFINISHED = ".unfinished"
"""How the names of files end whose writer has not come to its end, or was killed."""


@contextmanager
def written_atomically(target: Path) -> Iterator[IO[bytes]]:
    """A stream whose content becomes `target` at the end of the block, safe on the disk; after an error it is gone."""
    with NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", suffix=UNFINISHED, delete=False) as stream:
        unfinished = Path(stream.name)
        try:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            unfinished.replace(target)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
