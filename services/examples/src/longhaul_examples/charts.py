"""One chart as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Literal

ChartKind = Literal["bar", "line"]

_LABEL_CHARACTERS = 24
_LABELS = 40


def draw_chart(kind: ChartKind, title: str, labels: Sequence[str], values: Sequence[float]) -> bytes:
    """A PNG of 900 x 500 pixels with one bar or point for each label."""
    # Imported here: it takes half a second, which tasks without a chart need not wait for. No pyplot: it keeps
    # every figure in a global list and wants the main thread.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = range(len(labels))
    if kind == "bar":
        axes.bar(places, values, color="#2f6f9f")
    else:
        axes.plot(places, values, color="#2f6f9f", marker="o", markersize=3)
    every = -(-len(labels) // _LABELS) or 1
    axes.set_xticks(places[::every], [_plain(label) for label in labels[::every]], rotation=45, ha="right", fontsize=8)
    axes.set_title(_plain(title, characters=80))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="y", alpha=0.3)
    png = BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _plain(text: str, *, characters: int = _LABEL_CHARACTERS) -> str:
    # A dollar sign would start a formula.
    short = text if len(text) <= characters else text[: characters - 1] + "…"
    return short.replace("$", r"\$")
