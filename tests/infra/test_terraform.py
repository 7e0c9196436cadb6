"""Terraform is well formed, its own tests pass, and linters find nothing."""

from __future__ import annotations

import json
import re

import pytest
from tests.infra.inventory import declared, description_of, readmes
from tests.infra.terraform import ENVIRONMENTS, FOLDERS, MODULES, SOURCE, Outcome, Tree, has, run

_SKIP = re.compile(r"checkov:skip=(\w+)(?::(.*))?")
_MESSAGE = re.compile(r'^\s*error_message = "(.*)"$', re.MULTILINE)


def test_it_is_formatted(tree: Tree) -> None:
    done = tree.run(".", "fmt", "-check", "-recursive", "-no-color")
    assert done.returncode == 0, f"run `terraform fmt -recursive terraform`: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("folder", [".", "examples/minimal"])  # the root calls every module
def test_it_is_valid(tree: Tree, folder: str) -> None:
    tree.init(folder)
    done = tree.run(folder, "validate", "-json")
    answer = json.loads(done.stdout)
    errors = [one for one in answer["diagnostics"] if one["severity"] == "error"]
    assert answer["valid"], errors


def test_the_guide(guide: Outcome) -> None:
    assert not guide.problems
    assert guide.runs == {"guide": "pass", "separate_accounts": "pass"}


def test_what_is_refused(tree: Tree) -> None:
    tree.init(".")
    tested = tree.test(".", "-filter=tests/refusals.tftest.hcl")
    assert not tested.problems
    assert set(tested.runs.values()) == {"pass"}


@pytest.mark.parametrize("folder", FOLDERS[1:])
def test_its_own_tests(tree: Tree, folder: str) -> None:
    tree.init(folder)
    tested = tree.test(folder)
    assert not tested.problems
    assert set(tested.runs.values()) == {"pass"}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment(tree: Tree, environment: str) -> None:
    tree.init(".")
    file = f"environments/{environment}.tfvars"
    tested = tree.test(".", "-test-directory=tests/environments", f"-var-file={file}")
    assert not tested.problems
    assert tested.runs == {"environment": "pass"}


def test_tflint(tree: Tree) -> None:
    if not has("tflint"):
        pytest.skip("tflint is not on the PATH: install it to lint terraform/.")
    done = run("tflint", "--recursive", "--no-color", f"--config={tree.path / '.tflint.hcl'}", folder=tree.path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_checkov(tree: Tree) -> None:
    if not has("checkov"):
        pytest.skip("checkov is not on the PATH: install it (`pipx install checkov`) to check terraform/.")
    done = run(
        *("checkov", "--directory", str(tree.path), "--framework", "terraform", "--skip-download"),
        *("--quiet", "--compact", "--output", "cli"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Passed checks" in done.stdout


def test_every_suppressed_check_says_why() -> None:
    skips = [match for path in SOURCE.rglob("*.tf") for match in _SKIP.findall(path.read_text("utf-8"))]
    assert skips
    assert not [check for check, reason in skips if len(reason.split()) < 4]


def test_what_is_refused_is_told_in_one_sentence() -> None:
    messages = [found for path in SOURCE.rglob("variables.tf") for found in _MESSAGE.findall(path.read_text("utf-8"))]
    assert len(messages) > 30
    assert not [one for one in messages if not re.fullmatch(r"[A-Z].*[:;,(].*\.", one) or ". " in one]


@pytest.mark.parametrize("folder", FOLDERS)
def test_everything_is_described(folder: str) -> None:
    for kind in ("variable", "output"):
        blank = [
            name for name, body in declared(SOURCE / folder, kind).items() if not description_of(body).endswith(".")
        ]
        assert not blank


@pytest.mark.parametrize("folder", [".", *(f"modules/{name}" for name in MODULES)])
def test_files_are_named_as_everywhere(folder: str) -> None:
    names = {path.name for path in (SOURCE / folder).glob("*.tf")}
    assert {"terraform.tf", "main.tf", "variables.tf", "outputs.tf"} <= names


def test_readmes_are_current() -> None:
    stale = [str(path) for path, text in readmes() if path.read_text("utf-8") != text]
    assert not stale, "run `python -m tests.infra.inventory`"


def test_nothing_of_a_run_is_in_the_tree() -> None:
    left = [
        path.name for pattern in (".terraform", ".terraform.lock.hcl", "*.tfstate*") for path in SOURCE.rglob(pattern)
    ]
    assert not left, "run Terraform on a copy, or have these ignored"
