"""What was compared, as Markdown and as a plot."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from docs.generator.markdown import table
from tests.model.comparison import Comparison

from longhaul.sizing.assumptions import Assumptions
from longhaul.sizing.fleet import by_guide
from longhaul.sizing.packing import Room


@dataclass
class Report:
    """`limits` are the share and the seconds by which the model may be off."""

    limits: tuple[float, float]
    sizes: list[tuple[Assumptions, int, int, int]] = field(default_factory=list)
    """Assumptions, and nodes: divided, packed, real."""
    comparison: Comparison | None = None
    times: list[tuple[int, int | None, int | None]] = field(default_factory=list)
    """Replicas, and the seconds to them: real, simulated."""

    @property
    def passed(self) -> bool:
        error, seconds = self.limits
        return (
            (self.comparison is None or self.comparison.mean_absolute_error <= error)
            and all(a is not None and b is not None and abs(a - b) <= seconds for _, a, b in self.times)
            and all(counted == real for _, _, counted, real in self.sizes)
        )

    def markdown(self) -> str:
        """All of it."""
        return "\n\n".join([*self._nodes(), *self._replicas()])

    def _nodes(self) -> list[str]:
        if not self.sizes:
            return []
        rows = [(_pods(one), str(divided), str(counted), str(needed)) for one, divided, counted, needed in self.sizes]
        return [table(("pods", "nodes by division", "by `longhaul size`", "that the real scheduler needs"), rows)]

    def _replicas(self) -> list[str]:
        if self.comparison is None:
            return []
        (real, simulated), error = self.comparison.most, self.comparison.mean_absolute_error
        return [
            f"Workers over {len(self.comparison.real)} s: mean absolute error {error:.1%}, at most {real}, {simulated} simulated.",
            table(
                ("workers", "real", "simulated"),
                [(str(count), _seconds(a), _seconds(b)) for count, a, b in self.times],
            ),
        ]

    def write(self, folder: Path) -> None:
        """`model.md`, and `model.png` and `model.json` where replicas were compared."""
        folder.mkdir(exist_ok=True)
        (folder / "model.md").write_text(self.markdown() + "\n", encoding="utf-8")
        if self.comparison:
            (folder / "model.json").write_text(json.dumps(asdict(self.comparison)), encoding="utf-8")
            draw(self.comparison, folder / "model.png")


def draw(comparison: Comparison, path: Path) -> None:
    """Both curves over the seconds, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(comparison.real, label="real control plane", color="#2f6f9f")
    axes.plot(comparison.simulated, label="longhaul simulate", color="#c8553d", linestyle="--")
    axes.set_xlabel("seconds")
    axes.set_ylabel("worker pods")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path)


def _pods(assumptions: Assumptions) -> str:
    fleet = by_guide(assumptions)
    worker, api = (
        Room.of(fleet.worker_cpu, fleet.worker_memory_gib),
        Room.of(assumptions.api_cpu, assumptions.api_memory_gib),
    )
    return (
        f"{fleet.worker_max_replicas} workers of {worker.cpu}, {worker.memory}; {fleet.api_max_replicas} API pods of "
        f"{api.cpu}, {api.memory}"
    )


def _seconds(value: int | None) -> str:
    return "never" if value is None else f"{value} s"
