"""A release in a namespace of its own for each file, and the figures that the tests print."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from tests.e2e import cluster
from tests.e2e.release import Release
from tests.e2e.settings import E2ESettings

HERE = Path(__file__).parent
Figure = Callable[[str, str], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.is_relative_to(HERE)]
    for item in here:
        item.add_marker(pytest.mark.timeout(1200))
    if here and (reason := cluster.why_none()):
        for item in here:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the cluster as it is now: the tests that follow change it."""
    report = yield
    namespace = getattr(item, "funcargs", {}).get("namespace")
    if report.failed and report.when == "call" and namespace is not None:
        report.sections.append((f"namespace {namespace}", cluster.overview(namespace)))
    return report


@pytest.fixture(scope="session")
def settings() -> E2ESettings:
    return E2ESettings()


@pytest.fixture(scope="module")
def namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace that is this file's own."""
    name = f"e2e-{Path(str(request.path)).stem.removeprefix('test_').replace('_', '-')}"
    failed_before = request.session.testsfailed
    with cluster.namespace(name) as made:
        yield made
        if request.session.testsfailed > failed_before:
            cluster.save_evidence(made, name)


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """Keeps a measured figure: what it is, and how much with its unit."""

    def keep(what: str, how_much: str) -> None:
        record_property(what, how_much)

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    figures = [
        (report.nodeid, *pair)
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if "tests/e2e" in report.nodeid
        for pair in report.user_properties
    ]
    if figures:
        terminalreporter.section("figures")
        for _, what, how_much in figures:
            terminalreporter.write_line(f"{what}: {how_much}")
        cluster.BUILD.mkdir(parents=True, exist_ok=True)
        text = json.dumps([{"test": test, "what": what, "figure": figure} for test, what, figure in figures], indent=2)
        (cluster.BUILD / "figures.json").write_text(text + "\n")


@pytest.fixture(scope="module")
def release(request: pytest.FixtureRequest, namespace: str, settings: E2ESettings) -> Iterator[Release]:
    """Installed with the file's `VALUES`, its API open."""
    made = Release(namespace, settings)
    made.install(request.module.VALUES)
    with made.open_api():
        yield made
