"""A result store in a folder, as tests see it from outside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def store_away(folder: Path) -> Iterator[None]:
    """The folder is replaced by a file: nothing in it can be read or written, also by root."""
    aside = folder.with_name(f"{folder.name}-aside")
    was_there = folder.exists()
    if was_there:
        folder.rename(aside)
    folder.write_text("not a folder")
    try:
        yield
    finally:
        folder.unlink()
        if was_there:
            aside.rename(folder)


def keys(folder: Path) -> list[str]:
    """What is in the store: `<job id>/<epoch>.json`."""
    # os.walk passes over a folder that disappears meanwhile, since its last object is deleted; rglob raises.
    files = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names if name.endswith(".json"))
    return sorted(str(path.relative_to(path.parents[1])) for path in files)
