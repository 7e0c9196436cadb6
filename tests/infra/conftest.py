"""Terraform is checked with the real program, on a copy, with mocked providers: nothing reaches Azure."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.infra.terraform import Outcome, Tree, copy_to, has

HERE = Path(__file__).parent
NO_TERRAFORM = "Terraform is not on the PATH: install version 1.11 or newer to test terraform/."


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(600))  # a plan takes seconds, and many times that beside other work


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A copy of terraform/ for the session."""
    if not has("terraform"):
        pytest.skip(NO_TERRAFORM)
    return copy_to(tmp_path_factory.mktemp("infra"))


@pytest.fixture(scope="session")
def guide(tree: Tree) -> Outcome:
    """The sizing guide's case, applied with mocks."""
    tree.init(".")
    return tree.test(".", "-verbose", "-filter=tests/guide.tftest.hcl")
