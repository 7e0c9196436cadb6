"""A real control plane takes what the charts make of Terraform's values. A dry run: nothing is left there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.infra.terraform import ROOT, SOURCE, Outcome, has, run

CHARTS = {
    "longhaul": (ROOT / "charts" / "longhaul", "helm_values"),
    "longhaul-secrets": (SOURCE / "modules" / "release" / "secrets", "secrets_values"),
}


@pytest.fixture(scope="module")
def cluster() -> None:
    """The cluster that KUBECONFIG names, with KEDA."""
    if not (has("helm") and has("kubectl") and os.environ.get("KUBECONFIG")):
        pytest.skip("No cluster is named: set KUBECONFIG to one with KEDA, and install kubectl and Helm 4.")
    if run("kubectl", "get", "crd", "scaledobjects.keda.sh", "--request-timeout=5s").returncode:
        pytest.skip("No cluster with KEDA answers: make one, and run k8s/addons/install.sh.")


@pytest.mark.parametrize("release", CHARTS)
def test_it_takes_the_objects(cluster: None, guide: Outcome, tmp_path: Path, release: str) -> None:
    chart, output = CHARTS[release]
    values, objects = tmp_path / "values.yaml", tmp_path / "objects.yaml"
    values.write_text(guide.outputs["guide"][output])
    # Helm leaves tests out, and asks the cluster which kinds it has.
    rendered = run(
        "helm",
        "template",
        release,
        str(chart),
        "--validate",
        "--skip-tests",
        "--namespace=default",
        f"--values={values}",
    )
    if "SecretProviderClass" in rendered.stderr:
        pytest.skip("The Secrets Store CSI driver is not in this cluster: AKS brings it.")
    assert rendered.returncode == 0, rendered.stderr
    objects.write_text(rendered.stdout)
    done = run("kubectl", "apply", "--dry-run=server", "--namespace=default", f"--filename={objects}")
    assert done.returncode == 0, done.stderr
    assert all(line.endswith("(server dry run)") for line in done.stdout.splitlines())
