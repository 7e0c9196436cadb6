"""Every object of every example is one that Kubernetes, KEDA and the others know, field by field."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.charts import schemas
from tests.charts.release import CHART, CI_VALUES, Release, has, render, render_backing, run


def test_every_object_fits_its_schema(example: Release) -> None:
    wrong = {
        f"{one['kind']} {one['metadata']['name']}": problems
        for one in example.objects
        if (problems := schemas.problems_of(one))
    }
    assert wrong == {}


def test_an_unknown_field_fits_no_schema(default: Release) -> None:
    deployment = default.one("Deployment", "api")
    spoilt = {**deployment, "spec": {**deployment["spec"], "replics": 3}}
    assert any("replics" in problem for problem in schemas.problems_of(spoilt))
    scaled = default.one("ScaledObject", "worker-default")
    spoilt = {**scaled, "spec": {**scaled["spec"], "maxReplicas": 3}}
    assert any("maxReplicas" in problem for problem in schemas.problems_of(spoilt))


def test_what_keda_makes_is_a_job(example: Release) -> None:
    """The schema of a ScaledJob leaves its Job open."""
    for one in example.all("ScaledJob"):
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "made"},
            "spec": one["spec"]["jobTargetRef"],
        }
        assert schemas.problems_of(job) == []


def test_names_are_unique(example: Release) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in example.objects]
    assert sorted(names) == sorted(set(names))


def test_every_object_says_whose_it_is(default: Release) -> None:
    for one in default.objects:
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "longhaul"
        assert labels["app.kubernetes.io/component"]


def test_every_namespaced_object_is_in_the_releases_namespace(default: Release) -> None:
    assert {one["metadata"].get("namespace") for one in default.objects} == {"jobs"}


def test_long_names_stay_legal() -> None:
    """KEDA writes a ScaledObject's name into a label, which takes 63 characters."""
    pool = "p" * 20
    release = render({"fullnameOverride": "n" * 60, "worker": {"pools": {pool: {}}}})
    assert max(len(name) for name in release.names("ScaledObject")) == 63
    assert all(len(one["metadata"]["name"]) <= 63 for one in release.objects)


@pytest.mark.skipif(not has("kubeconform"), reason="kubeconform is not on the PATH.")
def test_kubeconform_agrees(tmp_path: Path) -> None:
    used = {(one["kind"], one["apiVersion"]) for file in CI_VALUES for one in render(file=file).objects}
    for path in {schemas.path_of(*one) for one in used} | {schemas.KUBERNETES / "_definitions.json"}:
        (tmp_path / path.name).write_text(schemas.read_alone(path))
    done = run(
        *(
            "kubeconform",
            "-strict",
            "-summary",
            "-schema-location",
            f"{tmp_path}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
        ),
        stdin="\n---\n".join(render(file=file).text for file in CI_VALUES),
    )
    assert done.returncode == 0, done.stdout
    assert "Invalid: 0, Errors: 0, Skipped: 0" in done.stdout


def test_lint_finds_nothing() -> None:
    for file in CI_VALUES:
        done = run("helm", "lint", "--strict", str(CHART), "--values", str(file))
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_development_servers_stand_alone() -> None:
    for one in render_backing().objects:
        assert schemas.problems_of(one) == []
