"""`longhaul size` as people call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from longhaul_cli.app import app

GUIDE = ("size", "--preset", "aks-guide")


def answer(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 2
    assert not result.stdout
    return " ".join(result.stderr.split())


def test_the_guides_case_in_one_command() -> None:
    text = answer(*GUIDE)
    assert "The guide: 8 API pods, 200 workers, 27 nodes, at most 30." in text
    assert "The same pods need 30 nodes, at most 33." in text
    assert "100 / 20 x 1.5 = 7.5, rounded up" in text


def test_as_json() -> None:
    found = json.loads(answer(*GUIDE, "--json"))
    assert (found["guide"]["api_max_replicas"], found["guide"]["worker_max_replicas"]) == (8, 200)
    assert (found["guide"]["nodes"], found["guide"]["nodes_max"], found["packed"]["nodes"]) == (27, 30, 30)
    assert found["assumptions"]["task_seconds"] == 30
    assert len(found["lines"]) == 14


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "load.yaml"
    file.write_text("concurrent_tasks: 500\ntask_seconds: 60\n")
    found = json.loads(answer(*GUIDE, str(file), "--set", "task_seconds=90", "--json"))
    assert found["assumptions"]["concurrent_tasks"] == 500
    assert found["assumptions"]["task_seconds"] == 90
    assert found["guide"]["worker_max_replicas"] == 100


@pytest.mark.parametrize(("numbers", "workers"), [("guide", 200), ("packed", 200), ("needed", 1009)])
def test_helm_values(numbers: str, workers: int) -> None:
    values = yaml.safe_load(answer(*GUIDE, "--emit", "helm", "--numbers", numbers))
    assert values["worker"]["poolDefaults"]["autoscaling"]["maxReplicas"] == workers


def test_terraform_variables() -> None:
    text = answer(*GUIDE, "--emit", "tfvars", "--numbers", "packed")
    assert text.startswith("assumptions = {\n")
    assert "  concurrent_tasks                = 1000\n" in text


def test_prices_add_what_it_costs(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("currency: EUR\nnode_hour: 0.2\n")
    assert "A month: 292 EUR with 2 nodes" in answer(*GUIDE, "--prices", str(file))


def test_nothing_to_size() -> None:
    assert "There is nothing to size: name a file" in refusal("size")


def test_wrong_input_is_answered_with_what_to_do(tmp_path: Path) -> None:
    assert "take one of aks-guide" in refusal("size", "--preset", "aks")
    assert "write it as task_seconds=90" in refusal(*GUIDE, "--set", "task_seconds")
    assert "is 'x': input should be a valid number" in refusal(*GUIDE, "--set", "task_seconds=x")
    assert "can't be read: No such file" in refusal("size", str(tmp_path / "none.yaml"))
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    assert "is no YAML" in refusal("size", str(broken))
    broken.write_text("- a\n")
    assert "must hold names and values" in refusal("size", str(broken))
    assert "task_cpu is missing" in refusal("size", "--set", "task_seconds=3")


def test_measuring_needs_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LONGHAUL_DATABASE_URL", raising=False)
    assert "LONGHAUL_DATABASE_URL is not set" in refusal("size", "--from-cluster")
