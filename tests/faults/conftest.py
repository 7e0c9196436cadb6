"""What the tests of faults share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults import toxiproxy


@pytest.fixture
def proxies(tmp_path: Path) -> Iterator[toxiproxy.Toxiproxy]:
    """A toxiproxy of the test's own."""
    with _toxiproxy(tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def shared_proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[toxiproxy.Toxiproxy]:
    """A toxiproxy for the tests of a file."""
    with _toxiproxy(tmp_path_factory.mktemp("toxiproxy")) as server:
        yield server


def _toxiproxy(folder: Path) -> toxiproxy.Toxiproxy:
    if not toxiproxy.is_installed():
        pytest.skip(f"Slow and cut connections need {toxiproxy.PROGRAM} (github.com/Shopify/toxiproxy) on the PATH.")
    return toxiproxy.Toxiproxy(folder)
