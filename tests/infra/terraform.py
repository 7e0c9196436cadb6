"""`terraform/` in a copy, and the real Terraform on it: the tree itself gets no lock file and no `.terraform`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "terraform"
MODULES = sorted(path.name for path in (SOURCE / "modules").iterdir())
ENVIRONMENTS = sorted(path.stem for path in (SOURCE / "environments").glob("*.tfvars"))
FOLDERS = [".", *(f"modules/{name}" for name in MODULES), "examples/minimal"]
"""What `terraform init` is run in."""


@dataclass(frozen=True)
class Outcome:
    """What `terraform test` said."""

    problems: list[str]
    """Of failed assertions and errors, a line each."""
    runs: dict[str, str]
    """Status by name: `pass`, `fail`, `error`."""
    outputs: dict[str, dict[str, Any]]
    """Of runs that apply, with `-verbose`: the outputs' values, by the run's name."""


@dataclass(frozen=True)
class Tree:
    """A copy of `terraform/`."""

    path: Path
    initialized: set[str] = field(default_factory=set)
    """Folders in which `init` came to its end."""

    def run(self, folder: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Terraform in a folder of the copy."""
        return run("terraform", f"-chdir={self.path / folder}", *arguments)

    def init(self, folder: str) -> None:
        """Fetch the providers; where they can't be had, skip the test. Raises AssertionError for anything else."""
        if folder in self.initialized:
            return
        done = self.run(folder, "init", "-backend=false", "-input=false", "-no-color")
        if "Failed to query available provider packages" in done.stderr or "Failed to install provider" in done.stderr:
            pytest.skip("Terraform's providers can't be had: go online, or name a mirror in TF_CLI_CONFIG_FILE.")
        assert done.returncode == 0, done.stdout + done.stderr
        self.initialized.add(folder)

    def test(self, folder: str, *arguments: str) -> Outcome:
        """Run `terraform test` in a folder that is initialized; with `-verbose` it tells outputs."""
        done = self.run(folder, "test", "-json", *arguments)
        tested = Outcome([], {}, {})
        for message in (json.loads(line) for line in done.stdout.splitlines()):
            name = message.get("@testrun", "")
            if message["type"] == "diagnostic" and message["diagnostic"]["severity"] == "error":
                tested.problems.append(f"{name}: {message['diagnostic']['summary']}: {message['diagnostic']['detail']}")
            elif message["type"] == "test_run" and "status" in message["test_run"]:
                tested.runs[name] = message["test_run"]["status"]
            elif message["type"] == "test_state":
                outputs = message["test_state"].get("outputs", {})
                tested.outputs[name] = {key: one["value"] for key, one in outputs.items()}
        assert tested.runs, done.stdout + done.stderr
        return tested

    def guide(self) -> Outcome:
        """The sizing guide's case, applied with mocks."""
        self.init(".")
        return self.test(".", "-verbose", "-filter=tests/guide.tftest.hcl")

    def apply(self, folder: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Apply a folder that needs no provider, and return its outputs. Raises AssertionError where it is refused."""
        given = self.path / folder / "given.tfvars.json"
        given.write_text(json.dumps(variables))
        done = self.run(folder, "apply", "-auto-approve", "-no-color", f"-var-file={given}")
        assert done.returncode == 0, done.stderr
        outputs = json.loads(self.run(folder, "output", "-json").stdout)
        return {name: one["value"] for name, one in outputs.items()}


def copy_to(folder: Path) -> Tree:
    """A copy of the tree, without what a Terraform run leaves in one. Skips the test where there is no Terraform."""
    # A program of its own, which no package here brings: what needs it is left out, and CI has it.
    if not has("terraform"):
        pytest.skip("Terraform is not on the PATH: install version 1.11 or newer to test terraform/.")
    path = folder / "terraform"
    shutil.copytree(
        SOURCE, path, ignore=shutil.ignore_patterns(".terraform", ".terraform.lock.hcl", "terraform.tfstate*")
    )
    return Tree(path)


def run(*command: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a program that is on the PATH."""
    environment = os.environ | {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_INPUT": "0"}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment, timeout=600, check=False
    )


def has(program: str) -> bool:
    return shutil.which(program) is not None
