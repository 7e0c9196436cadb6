"""What the docs tell people to type exists: commands, their options, targets of make, settings, metrics."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer.main
from docs.generate import ROOT, pages
from docs.generator.cli import commands
from tests.unit.docs.pages import PAGES, WRITTEN_BY_HAND, Page

from longhaul_cli.app import app

_ROOT_COMMAND: Any = typer.main.get_command(app)
_COMMANDS = {" ".join(words): command for words, command in commands(_ROOT_COMMAND)}
_TARGETS = re.compile(r"^([a-z0-9 ]+):", re.MULTILINE)
_ASSIGNMENT = re.compile(r"^[A-Z_]+=")
_SETTING = re.compile(r"\b(?:LONGHAUL|OTEL)_[A-Z_]+\b")
_METRIC = re.compile(r"\blonghaul_[a-z_]+\b")
_REFERENCE = pages()
_KNOWN_SETTINGS = {*_SETTING.findall(_REFERENCE["settings.md"]), "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"}
_KNOWN_METRICS = {*_METRIC.findall(_REFERENCE["metrics.md"]), *(path.name for path in ROOT.glob("services/*/src/*"))}


def typed(page: Page) -> list[list[str]]:
    """The commands of a page's shell blocks and code spans, as lists of words."""
    lines = [line for block in page.blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"\$\(([^()]*)\)", "\n".join(lines))
    return [words for line in [*lines, *page.code_spans()] if (words := _words(line))]


def _words(line: str) -> list[str]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a code span may hold anything
        return []
    while words and _ASSIGNMENT.match(words[0]):
        del words[0]
    return words


@pytest.mark.parametrize("page", WRITTEN_BY_HAND, ids=lambda page: page.name)
def test_commands_of_longhaul_exist(page: Page) -> None:
    for words in typed(page):
        if words[0] == "longhaul" and len(words) > 1 and not words[1].startswith("-"):
            _check(words[1:])


def _check(words: list[str]) -> None:
    name = next((one for one in (" ".join(words[:2]), words[0]) if one in _COMMANDS), None)
    assert name, f"there is no `longhaul {' '.join(words)}`"
    known = {option for param in _COMMANDS[name].params for option in (*param.opts, *param.secondary_opts)} | {"--help"}
    given = {word.partition("=")[0] for word in words if word.startswith("-") and not word[1:2].isdigit()}
    assert given <= known, f"`longhaul {name}` has no {', '.join(given - known)}"


@pytest.mark.parametrize("page", WRITTEN_BY_HAND, ids=lambda page: page.name)
def test_targets_of_make_exist(page: Page) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = {word for match in _TARGETS.finditer(makefile) for word in match[1].split()}
    named = {word for words in typed(page) if words[0] == "make" for word in words[1:] if "=" not in word}
    assert named <= targets


@pytest.mark.parametrize("page", WRITTEN_BY_HAND, ids=lambda page: page.name)
def test_settings_exist(page: Page) -> None:
    assert set(_SETTING.findall(page.text)) <= _KNOWN_SETTINGS


@pytest.mark.parametrize("page", WRITTEN_BY_HAND, ids=lambda page: page.name)
def test_metrics_exist(page: Page) -> None:
    assert set(_METRIC.findall(page.text)) <= _KNOWN_METRICS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_place_of_one_machine_is_named(page: Page) -> None:
    assert not re.findall(r"/(?:root|work|home)/|/tmp/w\b", page.text)
