"""`reference/faults.md`: what is survived, and the tests that show it, from their marks."""

from __future__ import annotations

from docs.generator.markdown import table
from tests.faults.catalogue import FAULTS, INVARIANTS, shown_by

_PAGE = """# Faults

What Longhaul is tested against. Under each fault these hold:

{invariants}

`make faults` runs the tests of `tests/faults`, the simulation, rounds of the seam and a mixed run; `make test` and `make e2e` the
others. What they found is told in [Under faults](../explanation/under-faults.md).

{faults}"""


def page() -> str:
    """The page's Markdown, without its head."""
    shown = shown_by()
    return _PAGE.format(
        invariants=table(("", "invariant"), INVARIANTS.items()),
        faults=table(
            ("", "fault", "what must also hold", "shown by"),
            [(fault, how, holds, _links(shown.get(fault, []))) for fault, (how, holds) in FAULTS.items()],
        ),
    )


def _links(tests: list[tuple[str, str]]) -> str:
    paths = dict.fromkeys(path for path, _ in tests)
    return ", ".join(f"[{path.removeprefix('tests/')}](../../{path})" for path in paths)
