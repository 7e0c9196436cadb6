"""A report: tables and plots as one HTML file that needs nothing else, or the plots alone as a PNG."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from longhaul.errors import ConfigurationError
from longhaul_cli.simulator.outcome import Outcome
from longhaul_cli.simulator.plots import draw

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; }
p { color: #555; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } th, td { border-color: #444; }
  p { color: #aaa; } img { background: #fff; } }
"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A heading, and what is below it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def write_report(
    path: Path, *, title: str, about: str, tables: Sequence[Table], outcomes: Sequence[tuple[str, Outcome]]
) -> None:
    """Write the file; its suffix says what: `.html` or `.png`. Raises ConfigurationError."""
    check_path(path)
    png = draw(outcomes)
    content = png if path.suffix == ".png" else page(title=title, about=about, tables=tables, png=png).encode()
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written ({error.strerror}): name another file.") from None


def check_path(path: Path) -> None:
    """Raise ConfigurationError for a suffix that is neither `.html` nor `.png`."""
    if path.suffix not in (".html", ".png"):
        raise ConfigurationError(f"{path} is neither .html nor .png: name the report so that it ends with one of them.")


def page(*, title: str, about: str, tables: Sequence[Table], png: bytes) -> str:
    """The whole page."""
    body = [f"<h1>{escape(title)}</h1>", f"<p>{escape(about)}</p>"]
    for table in tables:
        body += [f"<h2>{escape(table.title)}</h2>", "<table>", _row("th", table.columns)]
        body += [_row("td", row) for row in table.rows]
        body.append("</table>")
    image = b64encode(png).decode()
    body.append(f'<img alt="Jobs, pods, nodes and waits" src="data:image/png;base64,{image}">')
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
