"""`reference/sizing.md`: the sizing guide's case line by line, and the assumptions of `longhaul size`."""

from __future__ import annotations

from docs.generator.markdown import code, table
from pydantic_core import PydanticUndefined

from longhaul.sizing.assumptions import PRESETS, Assumptions, parse
from longhaul.sizing.lines import lines
from longhaul.sizing.sizing import size

_PAGE = """# Sizing

What `longhaul size --preset aks-guide` says: each number of the AKS sizing guide with how it follows, and beside it what is
needed and why. The chart's defaults and Terraform's are the guide's; tests compare all of them. How to read it:
[Sizing](../explanation/sizing.md).

{summary}

{lines}

## Assumptions

What `longhaul size` takes from a file, from `--set name=value`, from a preset, or from the ledger (`--from-cluster`). Rates are a
second, CPU is in vCPU, memory in GiB. Of `concurrent_tasks` and `jobs_per_second` one is enough.

{assumptions}"""


def page() -> str:
    """The page's Markdown, without its head."""
    sizing = size(parse(PRESETS["aks-guide"]))
    guide, packed, needed = sizing.guide, sizing.packed, sizing.needed
    return _PAGE.format(
        summary=table(
            ("", "API pods at most", "workers at most", "nodes at the peak", "nodes at most"),
            [
                (name, str(one.api_max_replicas), f"{one.worker_max_replicas:,}", str(one.nodes), str(one.nodes_max))
                for name, one in (
                    ("the guide", guide),
                    ("its pods, packed onto nodes", packed),
                    ("with a CPU for each task, and the wait target", needed),
                )
            ],
        ),
        lines=table(
            ("component", "setting", "guide", "how it follows", "needed", "why"),
            [(one.component, one.setting, one.guide, one.how, one.needed, one.why) for one in lines(sizing)],
        ),
        assumptions=table(
            ("assumption", "what it is", "default"),
            [
                (code(name), field.description or "", _default(field.default))
                for name, field in Assumptions.model_fields.items()
            ],
        ),
    )


def _default(value: object) -> str:
    return "must be said" if value is PydanticUndefined else "-" if value is None else f"{value:,}"
