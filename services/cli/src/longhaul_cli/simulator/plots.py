"""An outcome as a picture: what waits and runs, the pods of each pool, and the nodes, over time."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from longhaul.errors import ConfigurationError
from longhaul_cli.simulator.outcome import Outcome, Sample

_POINTS = 2000
"""More than a picture has pixels across."""
_HOUR = 3600.0


def draw(outcomes: Sequence[tuple[str, Outcome]]) -> bytes:
    """A PNG with a column for each outcome: 900 x 900 pixels for one. Raises ConfigurationError without matplotlib."""
    try:
        # Here: only a report needs it. No pyplot: it keeps every figure in a global list.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigurationError("Plots need matplotlib: install longhaul-cli[plots], or leave --report out.") from None

    figure = Figure(figsize=(9 * len(outcomes), 9), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    grid: Any = figure.subplots(4, len(outcomes), squeeze=False, sharey="row")
    for column, (name, outcome) in enumerate(outcomes):
        _draw_column([row[column] for row in grid], _plain(name), outcome)
    for row in grid:  # once all is drawn, as each row shares its scale
        row[0].set_ylim(bottom=0)
    png = BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _draw_column(rows: Sequence[Any], name: str, outcome: Outcome) -> None:
    """Jobs, pods, nodes and the distribution of waits, one below the other."""
    jobs, pods, nodes, waits = rows
    samples = thin(outcome.samples, _POINTS)
    hours = [sample.at_seconds / _HOUR for sample in samples]
    jobs.set_title(name)
    jobs.plot(hours, [sample.waiting for sample in samples], label="waiting", color="#c44e52", linewidth=1)
    jobs.plot(hours, [sample.running for sample in samples], label="running", color="#2f6f9f", linewidth=1)
    jobs.set_ylabel("jobs")
    for pool in outcome.pools:
        ready = [sample.pools[pool].ready for sample in samples]
        (line,) = pods.plot(hours, ready, label=f"{_plain(pool)}: ready", linewidth=1)
        desired = [sample.pools[pool].desired for sample in samples]
        pods.plot(hours, desired, label=f"{_plain(pool)}: desired", linewidth=1, linestyle=":", color=line.get_color())
    pods.set_ylabel("pods")
    nodes.plot(hours, [sample.nodes for sample in samples], label="ready", color="#55a868", linewidth=1)
    ordered = [sample.nodes + sample.nodes_starting for sample in samples]
    nodes.plot(hours, ordered, label="ordered", color="#55a868", linewidth=1, linestyle=":")
    nodes.set_ylabel("nodes")
    nodes.set_xlabel("hours")
    for axes in (jobs, pods, nodes):
        axes.legend(loc="upper right", fontsize=8, frameon=False)
    _draw_waits(waits, outcome)
    for axes in rows:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        axes.grid(axis="y", alpha=0.3)


def _draw_waits(axes: Any, outcome: Outcome) -> None:
    """The share of the jobs that waited for no longer than so long."""
    ordered = sorted(outcome.all_waits)
    every = max(1, len(ordered) // _POINTS)
    places = [*range(0, len(ordered), every), len(ordered) - 1] if ordered else []
    axes.plot([ordered[place] for place in places], [(place + 1) / len(ordered) for place in places], color="#2f6f9f")
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of jobs")
    axes.set_xlabel("waited at most, seconds")


def thin(samples: Sequence[Sample], points: int) -> list[Sample]:
    """At most so many of them; of each run that becomes one, that with the most that waits: none of its peaks is lost."""
    run = max(1, -(-len(samples) // points))
    return [max(samples[at : at + run], key=lambda one: one.waiting) for at in range(0, len(samples), run)]


def _plain(text: str) -> str:
    # A dollar sign would start a formula.
    return (text if len(text) <= 60 else f"{text[:59]}…").replace("$", r"\$")
