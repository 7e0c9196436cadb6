"""`python -m tests.infra.inventory`: write the tables of variables and outputs into Terraform's READMEs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.infra.terraform import FOLDERS, SOURCE

_BLOCK = re.compile(r'^(variable|output) "(\w+)" \{\n(.*?)^\}$', re.MULTILINE | re.DOTALL)
_DESCRIPTION = re.compile(r'^  description\s*= "((?:[^"\\]|\\.)*)"$', re.MULTILINE)
_DEFAULT = re.compile(r"^  default\s*= (.*)$", re.MULTILINE)
_BEGIN, _END = "<!-- inventory -->", "<!-- /inventory -->"


def declared(folder: Path, kind: str) -> dict[str, str]:
    """The body of each variable or output of a folder, by name, in the order of the file."""
    text = (folder / f"{kind}s.tf").read_text("utf-8")
    return {name: body for found, name, body in _BLOCK.findall(text) if found == kind}


def description_of(body: str) -> str:
    found = _DESCRIPTION.search(body)
    return found[1] if found else ""


def tables(folder: Path) -> str:
    """Markdown tables of what a folder takes and gives."""
    lines = ["| variable | default | |", "|---|---|---|"]
    lines += [
        f"| `{name}` | {_default(body)} | {description_of(body)} |"
        for name, body in declared(folder, "variable").items()
    ]
    lines += ["", "| output | |", "|---|---|"]
    lines += [f"| `{name}` | {description_of(body)} |" for name, body in declared(folder, "output").items()]
    return "\n".join(lines)


def _default(body: str) -> str:
    found = _DEFAULT.search(body)
    if not found:
        return "required"
    return f"`{found[1]}`" if found[1] != "{" else "see there"


def readmes() -> Iterator[tuple[Path, str]]:
    """Each README below terraform/, and what it must hold."""
    for name in FOLDERS:
        path = SOURCE / name / "README.md"
        before, _, rest = path.read_text("utf-8").partition(_BEGIN)
        yield path, f"{before}{_BEGIN}\n\n{tables(path.parent)}\n\n{_END}{rest.partition(_END)[2]}"


if __name__ == "__main__":
    for path, text in readmes():
        path.write_text(text, "utf-8")
