"""A mutation: one rule of the shipped code, broken on purpose, and the test that must fail because of it."""

from __future__ import annotations

import ast
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class DoesNotApply(Exception):
    """The code that a mutation wants to change is not there, or is there more than once."""


@dataclass(frozen=True)
class Edit:
    """Replaces a text that occurs exactly once in a file."""

    file: str
    """From the project's root, below `services/*/src`."""
    old: str
    new: str

    def apply(self, source: str) -> str:
        """The file's changed text. Raises DoesNotApply."""
        if (count := source.count(self.old)) != 1:
            raise DoesNotApply(f"{self.file} holds this text {count} times instead of once:\n{self.old}")
        return source.replace(self.old, self.new)

    @property
    def package(self) -> Path:
        """The folder of the package that the file belongs to, from the project's root."""
        return Path(*Path(self.file).parts[:4])

    @property
    def module(self) -> str:
        """The file's name for `import`."""
        return ".".join(Path(self.file).with_suffix("").parts[3:])


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One broken rule."""

    name: str
    breaks: str
    """What Longhaul does wrong now, in a sentence."""
    edits: Sequence[Edit]
    test: str
    """The node id of the test that must fail."""
    error: str | None = None
    """The class that the test ends with, such as `builtins.TimeoutError`, where that is no assertion of its own."""

    @property
    def files(self) -> list[str]:
        """The files that it changes."""
        return list(dict.fromkeys(edit.file for edit in self.edits))

    def sources(self) -> dict[str, str]:
        """Its files as they are after the change.

        Raises DoesNotApply, also where the changed code is no Python or means the same as before.
        """
        before = {file: (ROOT / file).read_text("utf-8") for file in self.files}
        after = dict(before)
        for edit in self.edits:
            after[edit.file] = edit.apply(after[edit.file])
        for file, source in after.items():
            try:
                changed = ast.dump(ast.parse(source)) != ast.dump(ast.parse(before[file]))
            except SyntaxError as error:
                raise DoesNotApply(f"{file} is no Python any more: {error}") from error
            if not changed:
                raise DoesNotApply(f"{file} means the same as before.")
        return after

    def write_packages(self, folder: Path) -> None:
        """Copy the packages that it changes into a folder, changed. The project itself stays as it is."""
        copied: dict[Path, list[Edit]] = defaultdict(list)
        for edit in self.edits:
            copied[edit.package].append(edit)
        for package in copied:
            shutil.copytree(ROOT / package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
        for file, source in self.sources().items():
            (folder / Path(*Path(file).parts[3:])).write_text(source, "utf-8")
