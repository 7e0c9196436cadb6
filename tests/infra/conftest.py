"""Terraform is checked with the real program, on a copy, with mocked providers: nothing reaches Azure."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.infra.terraform import Outcome, Tree, copy_to

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(600))  # a plan takes seconds, and many times that beside other work


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A copy of terraform/ for the session."""
    return copy_to(tmp_path_factory.mktemp("infra"))


@pytest.fixture(scope="session")
def guide(tree: Tree) -> Outcome:
    """The sizing guide's case, applied with mocks."""
    return tree.guide()
