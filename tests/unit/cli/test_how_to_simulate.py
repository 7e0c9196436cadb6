"""What the how-to shows is what its commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from tests.unit.docs.pages import ROOT, Page
from typer.testing import CliRunner

from longhaul_cli.app import app

PATH = ROOT / "docs/how-to/try-autoscaling-before-you-change-it.md"
PAGE = Page(PATH, PATH.read_text("utf-8"))
_NUMBER = re.compile(r"[+-]?[\d,]*\.?\d+")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the page says to save."""
    workload, cluster, new = PAGE.blocks("yaml")
    for name, text in {"workload": workload, "cluster": cluster, "new": new, "values": "{}"}.items():
        (tmp_path / f"{name}.yaml").write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("here")
def test_the_first_table_is_what_is_printed() -> None:
    assert_alike(run(commands()[0]), PAGE.blocks("")[0])


@pytest.mark.usefixtures("here")
def test_the_second_table_is_what_is_printed() -> None:
    shown = [line for line in PAGE.text.splitlines() if line.startswith("|")]
    table = shown[: shown.index("| key of a stream | means |")]
    assert_alike(run(commands()[1]), "\n".join(table))


@pytest.mark.usefixtures("here")
def test_with_a_patient_autoscaler_nothing_is_interrupted() -> None:
    (setting,) = re.findall(r"`(max_graceful_termination_seconds: \d+)`", PAGE.text)
    with Path("cluster.yaml").open("a") as file:
        file.write(f"{setting}\n")
    (line,) = (line for line in run(commands()[1]).splitlines() if line.startswith("| interruptions "))
    assert line.split("|")[3].strip() == "0"


def commands() -> list[str]:
    return [line for block in PAGE.blocks("sh") for line in block.splitlines() if line.startswith("longhaul simulate")]


def run(command: str) -> str:
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    assert result.exit_code == 0, result.output
    return result.stdout


def assert_alike(printed: str, shown: str) -> None:
    """The same words; numbers may differ by a tenth, since another machine's logarithms end in another digit."""
    printed, shown = (re.sub(r"\s+", " ", text).strip() for text in (printed, shown))
    assert _NUMBER.sub("#", printed) == _NUMBER.sub("#", shown)
    for ours, theirs in zip(_NUMBER.findall(printed), _NUMBER.findall(shown), strict=True):
        assert float(ours.replace(",", "")) == pytest.approx(float(theirs.replace(",", "")), rel=0.1, abs=1)
