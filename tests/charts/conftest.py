"""The charts' tests render with real Helm, and need nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.charts.release import CI_VALUES, Release, has, render

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not has("helm"):
        no_helm = pytest.mark.skip(reason="Helm 4 is not on the PATH: install it to test the charts.")
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(no_helm)


@pytest.fixture(params=CI_VALUES, ids=lambda path: path.name.removesuffix("-values.yaml"))
def example(request: pytest.FixtureRequest) -> Release:
    """The release of each file in ci/."""
    return render(file=request.param)


@pytest.fixture
def default() -> Release:
    """The release without a word."""
    return render()
