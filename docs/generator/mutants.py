"""`reference/mutants.md`: the rules that are broken on purpose, and the test that notices each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from docs.generator.markdown import code, table
from tests.mutants.catalogue import PARTS
from tests.mutants.mutation import Mutation

_PAGE = """# Mutants

The tests are tested, too. `make mutants` breaks one rule of the shipped code at a time, in a copy, and runs the test that is
named here: the mutant is caught if that test fails by an assertion of its own, and survives otherwise. Every mutant is caught.

{parts}"""


def page() -> str:
    """The page's Markdown, without its head."""
    return _PAGE.format(parts="\n\n".join(f"## {title}\n\n{_mutants(found)}" for title, found in PARTS.items()))


def _mutants(mutations: Sequence[Mutation]) -> str:
    return table(
        ("mutant", "what it breaks", "in", "caught by"),
        [(code(one.name), one.breaks, ", ".join(map(_file, one.files)), _test(one.test)) for one in mutations],
    )


def _file(path: str) -> str:
    return f"[{Path(path).name}](../../{path})"


def _test(node_id: str) -> str:
    path, _, name = node_id.partition("::")
    return f"[{name.partition('[')[0]}](../../{path})"
