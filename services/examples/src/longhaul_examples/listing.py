"""The listing: which files an index is made of, fixed once, in an order that never changes."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import stat
import sysconfig
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel

from longhaul import Permanent
from longhaul_examples.files import written_atomically

Reason = Literal["binary", "too_large", "unreadable", "vanished"]

_FOLDERS_PASSED_BY = {"__pycache__", "node_modules"}


class PassedBy(Exception):
    """A listed file that can't be part of an index."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason)


class ListedFile(NamedTuple):
    """`path` is relative to `folder`; `size_bytes` is what it was when it was listed."""

    folder: str
    path: str
    size_bytes: int

    def read_text(self, *, max_bytes: int) -> str:
        """Its content. Raises PassedBy where it is no text (UTF-8), too large, gone or not for us to read."""
        try:
            self.path.encode()  # what is no UTF-8 can't be said in JSON, which results are
            with Path(self.folder, self.path).open("rb") as stream:
                content = stream.read(max_bytes + 1)
            if len(content) > max_bytes:
                raise PassedBy("too_large")
            if b"\0" in content:
                raise PassedBy("binary")
            return content.decode()
        except FileNotFoundError as error:
            raise PassedBy("vanished") from error
        except UnicodeDecodeError as error:
            raise PassedBy("binary") from error
        except (OSError, UnicodeEncodeError) as error:
            raise PassedBy("unreadable") from error


class Listing(BaseModel):
    """What was listed in all; `digest` is that of the file that holds it."""

    digest: str
    folders: list[str]
    files: int
    size_bytes: int
    unreadable_folders: int


def default_folders() -> list[Path]:
    """The project's own docs, where this runs from a checkout, and the sources of the installed Python packages."""
    checkouts = [parent for parent in Path(__file__).resolve().parents if (parent / "services" / "examples").is_dir()]
    docs = [checkout / "docs" for checkout in checkouts[:1]]
    packages = [Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")]
    return [folder for folder in dict.fromkeys([*docs, *packages]) if folder.is_dir()]


def write_listing(
    target: Path, folders: Sequence[Path], *, patterns: Sequence[str], max_files: int | None, but_not: Path
) -> Listing:
    """List into `target` the files below `folders` whose names match one of the globs: sorted, `max_files` at most.

    Folders come in the order given. Hidden ones, `but_not` and links to folders are passed by.
    Raises Permanent where one of `folders` is missing or can't be read.
    """
    for folder in folders:
        try:
            os.scandir(folder).close()
        except OSError as error:
            raise Permanent(
                f"The folder {folder} does not exist or can't be read: name one that this worker can read."
            ) from error
    wanted = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))
    unreadable: list[OSError] = []
    found = (
        (number, path, size_bytes)
        for number, folder in enumerate(folders)
        for path, size_bytes in _walk(folder.resolve(), wanted, but_not.resolve(), unreadable)
    )
    names = [str(folder) for folder in folders]
    digest, files, total_bytes = blake2b(digest_size=16), 0, 0
    with written_atomically(target) as stream:

        def write(record: object) -> None:
            line = json.dumps(record).encode() + b"\n"
            stream.write(line)
            digest.update(line)

        write(names)
        for record in islice(found, max_files):
            write(record)
            files, total_bytes = files + 1, total_bytes + record[2]
    return Listing(
        digest=digest.hexdigest(),
        folders=names,
        files=files,
        size_bytes=total_bytes,
        unreadable_folders=len(unreadable),
    )


def read_listing(path: Path, *, start: int = 0) -> Iterator[ListedFile]:
    """The listed files from number `start` (0 is the first)."""
    with path.open("rb") as stream:
        folders = json.loads(stream.readline())
        for line in islice(stream, start, None):
            number, name, size_bytes = json.loads(line)
            yield ListedFile(folders[number], name, size_bytes)


def listing_digest(path: Path) -> str | None:
    """The digest of this listing, or None where there is none."""
    digest = blake2b(digest_size=16)
    try:
        with path.open("rb") as stream:
            for line in stream:
                digest.update(line)
    except FileNotFoundError:
        return None
    return digest.hexdigest()


def _walk(root: Path, wanted: re.Pattern[str], but_not: Path, unreadable: list[OSError]) -> Iterator[tuple[str, int]]:
    for folder, subfolders, names in os.walk(root, onerror=unreadable.append):
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not name.startswith(".") and name not in _FOLDERS_PASSED_BY and Path(folder, name) != but_not
        )
        for name in sorted(names):
            path = Path(folder, name)
            size_bytes = _size_bytes(path) if wanted.match(name) else None
            if size_bytes is not None:
                yield str(path.relative_to(root)), size_bytes


def _size_bytes(path: Path) -> int | None:
    """None for what is no file; 0 where nobody can tell, so that it is listed and its reader says and counts why."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else None
