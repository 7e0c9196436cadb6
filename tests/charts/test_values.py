"""values.yaml, its schema and the README say the same."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from tests.charts.release import BACKING, CHART, ROOT, has, refuse, run

CHARTS = pytest.mark.parametrize("chart", [CHART, BACKING], ids=["longhaul", "backing"])
WHOLE = {"affinity", "resources", "scaleUp", "scaleDown", "behavior", "strategy", "pod", "container"}
"""Keys whose value is one of Kubernetes' own objects: described as one."""


@CHARTS
def test_the_defaults_fit_the_schema(chart: Path) -> None:
    assert [
        error.message for error in jsonschema_rs.Draft202012Validator(_schema(chart)).iter_errors(_values(chart))
    ] == []


@CHARTS
def test_values_and_schema_have_the_same_keys(chart: Path) -> None:
    def compare(values: Any, schema: dict[str, Any], at: str) -> None:
        known = _resolve(schema, root).get("properties", {})
        if at == "/worker/pools" or not isinstance(values, dict) or not known:
            return
        given = {key for key in known if key not in INHERITED.get(at, set())}
        if at.rpartition("/")[2] not in WHOLE:
            assert set(values) == given, at
        for key in set(values) & set(known):
            compare(values[key], known[key], f"{at}/{key}")

    root = _schema(chart)
    compare(_values(chart), root, "")


INHERITED = {"": {"global", "enabled"}}
"""What Helm, and the chart above, put into values."""


@CHARTS
def test_the_schema_is_closed(chart: Path) -> None:
    """Every object that lists its keys takes no other ones, but `backing`, which its own chart's schema closes."""

    def look(schema: Any, at: str) -> None:
        if isinstance(schema, dict):
            if isinstance(schema.get("properties"), dict) and "type" in schema and schema.get("required") is None:
                assert schema.get("additionalProperties") is False, at
            for key, below in schema.items():
                look(below, f"{at}/{key}")
        elif isinstance(schema, list):
            for below in schema:
                look(below, at)

    look(_schema(chart), "")


@CHARTS
def test_every_key_is_described(chart: Path) -> None:
    text = (chart / "values.yaml").read_text()
    node = yaml.compose(text)
    lines = text.splitlines()
    missing = []

    def look(node: yaml.Node, at: str) -> None:
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            before = key.start_mark.line - 1
            while before >= 0 and re.match(r" *#(?! --)", lines[before]):
                before -= 1
            if not re.match(r" *# -- \S", lines[before]):
                missing.append(f"{at}.{key.value}")
            if key.value not in WHOLE:
                look(value, f"{at}.{key.value}")

    assert node is not None
    look(node, "")
    assert missing == []


@CHARTS
@pytest.mark.skipif(not has("helm-docs"), reason="helm-docs is not on the PATH.")
def test_the_readme_is_what_helm_docs_writes(chart: Path, tmp_path: Path) -> None:
    for name in ("Chart.yaml", "values.yaml", "README.md.gotmpl"):
        (tmp_path / name).write_text((chart / name).read_text())
    assert run("helm-docs", "--chart-search-root", str(tmp_path), "--sort-values-order", "file").returncode == 0
    written = (tmp_path / "README.md").read_text()
    assert (chart / "README.md").read_text() == written, (
        "Run `helm-docs --chart-search-root charts/longhaul --sort-values-order file`."
    )


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"api": {"replcas": 3}}, "additional properties 'replcas' not allowed"),
        ({"api": {"autoscaling": {"minReplicas": -1}}}, "minimum: got -1, want 1"),
        ({"worker": {"pools": {"default": {"slots": 0}}}}, "minimum: got 0, want 1"),
        ({"worker": {"pools": {"default": {"mode": "cronjob"}}}}, "value must be one of 'deployment', 'job'"),
        ({"worker": {"pools": {"default": {"queues": []}}}}, "minItems: got 0, want 1"),
        ({"database": {"url": "mysql://host/db"}}, "does not match pattern"),
        ({"headroom": {"priority": 5}}, "maximum: got 5, want -1"),
        ({"backing": {"postgres": {"imge": "x"}}}, "additional properties 'imge' not allowed"),
    ],
)
def test_the_schema_refuses(values: dict[str, Any], says: str) -> None:
    assert says in refuse(values)


def test_versions_agree() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    for service in ("api", "worker", "controller"):
        project = tomllib.loads((ROOT / "services" / service / "pyproject.toml").read_text())["project"]
        assert chart["appVersion"] == project["version"]
    backing = yaml.safe_load((BACKING / "Chart.yaml").read_text())
    assert [one["version"] for one in chart["dependencies"] if one["name"] == "backing"] == [backing["version"]]


def test_a_clean_clone_has_every_dependency() -> None:
    """`helm install` needs no `helm dependency build` before."""
    done = run("helm", "dependency", "list", str(CHART))
    assert re.search(r"^backing\s+0\.1\.0\s+unpacked", done.stdout, re.MULTILINE), done.stdout


def test_the_package_holds_what_templates_read(tmp_path: Path) -> None:
    assert run("helm", "package", str(CHART), "--destination", str(tmp_path)).returncode == 0
    done = run("tar", "-tzf", str(next(tmp_path.glob("*.tgz"))))
    names = set(done.stdout.split())
    assert {"longhaul/tests/round_trip.py", "longhaul/charts/backing/values.yaml"} <= names
    assert any(name.startswith("longhaul/alerts/") for name in names)
    assert not any(name.startswith("longhaul/ci/") for name in names)


def _values(chart: Path) -> Any:
    return yaml.safe_load((chart / "values.yaml").read_text())


def _schema(chart: Path) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((chart / "values.schema.json").read_text())
    return schema


def _resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema
