"""`python -m docs.generate`: write the reference pages that follow from the code; `--bench`: the README's table."""

from __future__ import annotations

import argparse
from pathlib import Path

from docs.generator import api, bench, cli, errors, events, faults, metrics, mutants, settings, sizing, states, task

from longhaul_api.app import create_app
from longhaul_api.settings import ApiSettings

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
HEAD = "<!-- Written by `make docs` from the code: change the code, not this page. -->"


def pages() -> dict[str, str]:
    """Every generated page: its file's name and what it must hold."""
    # Nothing is connected to: the app is only asked what it would serve.
    app = create_app(ApiSettings(database_url="postgresql://nowhere/longhaul", redis_url="redis://nowhere"))
    texts = {
        "api.md": api.page(app),
        "cli.md": cli.page(),
        "errors.md": errors.page(),
        "events.md": events.page(),
        "faults.md": faults.page(),
        "metrics.md": metrics.page(app.state.context.metrics),
        "mutants.md": mutants.page(),
        "settings.md": settings.page(),
        "sizing.md": sizing.page(),
        "states.md": states.page(),
        "task.md": task.page(),
    }
    return {name: f"{HEAD}\n\n{text}\n" for name, text in texts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("--bench", action="store_true", help="put build/bench.json into the README as a table")
    if parser.parse_args().bench:
        figures, readme = ROOT / "build" / "bench.json", ROOT / "README.md"
        if not figures.exists():
            parser.error("build/bench.json is not there: run `make bench` first.")
        readme.write_text(bench.put_between(readme.read_text("utf-8"), bench.render(figures)), "utf-8")
        return
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
