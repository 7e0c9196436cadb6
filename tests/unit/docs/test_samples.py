"""The samples in the docs: tasks load, their tests pass, and everything that is imported is there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tests.unit.docs.pages import ROOT, WRITTEN_BY_HAND, Page

from longhaul.task import Task

SAMPLES = [(page, block) for page in WRITTEN_BY_HAND for block in page.blocks("python")]


@pytest.mark.parametrize(
    ("page", "block"), SAMPLES, ids=[f"{page.name}-{number}" for number, (page, _) in enumerate(SAMPLES)]
)
def test_a_sample_is_python_and_finds_what_it_imports(page: Page, block: str) -> None:
    imports = [one for one in ast.parse(block).body if isinstance(one, ast.Import | ast.ImportFrom)]
    own = {"checksums"}  # the tutorial's own module
    wanted = [one for one in imports if not (isinstance(one, ast.ImportFrom) and one.module in own)]
    exec(compile(ast.Module(body=list(wanted), type_ignores=[]), page.name, "exec"), {})
    if "@task(" in block:
        assert [one for one in vars(_module(block)).values() if isinstance(one, Task)]


def test_the_tutorials_own_tests_pass(tmp_path: Path) -> None:
    tutorial = Page(path := ROOT / "docs/tutorials/first-job.md", path.read_text("utf-8"))
    task, test = tutorial.blocks("python")
    (tmp_path / "checksums.py").write_text(task)
    (tmp_path / "test_checksums.py").write_text(test)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "4 passed" in ran.stdout, ran.stdout + ran.stderr


def _module(block: str) -> ModuleType:
    module = ModuleType("sample")
    sys.modules["sample"] = module  # pydantic and @task look names up there
    try:
        exec(block, module.__dict__)
    finally:
        del sys.modules["sample"]
    return module
