"""The notes: commands that work with these values, and warnings where there is something to warn of."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from tests.charts.release import CHART, CI_VALUES, CRDS, NAMESPACE, Release, render, run

from longhaul_cli.app import app


@pytest.fixture(scope="module")
def chart_that_shows_its_notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`helm template` leaves notes out, and `helm install` wants a cluster: so they become a template here."""
    copy = tmp_path_factory.mktemp("notes") / "longhaul"
    shutil.copytree(CHART, copy)
    notes = (copy / "templates" / "NOTES.txt").rename(copy / "templates" / "_notes.tpl")
    notes.write_text(f'{{{{- define "shown" }}}}{notes.read_text()}{{{{- end }}}}')
    (copy / "templates" / "shown.yaml").write_text('text: {{ include "shown" . | toJson }}\n')
    return copy


@pytest.fixture
def notes_of(chart_that_shows_its_notes: Path) -> Any:
    def show(values: dict[str, Any] | None = None, file: Path | None = None) -> str:
        done = run(
            *(
                "helm",
                "template",
                "longhaul",
                str(chart_that_shows_its_notes),
                "--namespace",
                NAMESPACE,
                "--values",
                "-",
            ),
            *(f"--api-versions={crd}" for crd in CRDS),
            *("--show-only", "templates/shown.yaml", *(("--values", str(file)) if file else ())),
            stdin=json.dumps(values or {}),
        )
        assert done.returncode == 0, done.stderr
        text: str = yaml.safe_load(done.stdout)["text"]
        return text

    return show


@pytest.mark.parametrize("file", CI_VALUES, ids=lambda path: path.stem)
def test_commands_name_what_is_there(file: Path, notes_of: Any) -> None:
    release = _of(file)
    named = re.findall(r"\b(deployment|service)/([\w-]+)(?: \d+:(\d+))?", notes_of(file=file))
    assert named
    for kind, name, port in named:
        (found,) = [one for one in release.all(kind.capitalize()) if one["metadata"]["name"] == name]
        if port:
            assert int(port) in [one["port"] for one in found["spec"]["ports"]]


@pytest.mark.parametrize("file", CI_VALUES, ids=lambda path: path.stem)
def test_every_kubectl_command_names_the_namespace(file: Path, notes_of: Any) -> None:
    for line in re.findall(r"kubectl [^)\n]+", notes_of(file=file)):
        assert line.startswith(f"kubectl --namespace {NAMESPACE} "), line


def test_the_clis_commands_are_ones_that_it_knows(notes_of: Any) -> None:
    text = notes_of()
    lines = re.findall(r"^ *(longhaul [^\n]+)$", text, re.MULTILINE) + re.findall(r"-- (longhaul [^)\n]+)\)", text)
    assert len(lines) == 2
    for line in lines:
        _parse(shlex.split(line)[1:])


def test_the_development_servers_are_warned_of(notes_of: Any) -> None:
    assert "WARNING: PostgreSQL and Redis are the chart's own, for development" in notes_of()
    assert "development" not in notes_of(file=CHART / "ci" / "urls-values.yaml")


def test_a_database_without_a_volume_is_warned_of(notes_of: Any) -> None:
    assert "All jobs are lost" in notes_of({"backing": {"postgres": {"persistence": {"enabled": False}}}})
    assert "All jobs are lost" not in notes_of()


def test_an_open_api_is_warned_of(notes_of: Any) -> None:
    text = notes_of({"api": {"auth": {"mode": "none", "noneAnywhere": True}}})
    assert "Everyone who reaches the API may do everything" in text
    assert "keys create" not in text


def test_pools_that_share_a_queue_are_told_of(notes_of: Any) -> None:
    assert "The pools default and second all serve the queue default" in notes_of({"worker": {"pools": {"second": {}}}})


def test_long_drains_are_told_of(notes_of: Any) -> None:
    assert "may take 3660 s to end" in notes_of()
    assert "to end." not in notes_of({"worker": {"poolDefaults": {"maxJobSeconds": 60}}})


def _of(file: Path) -> Release:
    return render(file=file)


def _parse(arguments: list[str]) -> None:
    """As the CLI itself would; raises a UsageError."""
    command: Any = typer.main.get_command(app)
    name, command, rest = command.resolve_command(command.make_context("longhaul", arguments.copy()), arguments)
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(command.make_context(name, rest.copy()), rest)
    command.make_context(name, rest)
