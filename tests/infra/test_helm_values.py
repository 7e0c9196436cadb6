"""What Terraform gives to Helm: the charts take it, and make of it what was meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from tests.charts import schemas
from tests.charts.release import Release, render
from tests.infra.terraform import SOURCE, Outcome, has, run

from longhaul.sizing.assumptions import PRESETS, parse
from longhaul.sizing.sizing import size

SECRETS_CHART = SOURCE / "modules" / "release" / "secrets"


@pytest.fixture(scope="module")
def helm() -> None:
    if not has("helm"):
        pytest.skip("Helm 4 is not on the PATH: install it to test Terraform's values for the charts.")


@pytest.fixture(scope="module")
def release(helm: None, guide: Outcome) -> Release:
    """charts/longhaul with the values of the guide's case."""
    return render(yaml.safe_load(guide.outputs["guide"]["helm_values"]))


@pytest.fixture(scope="module")
def secrets(helm: None, guide: Outcome, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The chart of the Secrets with the values of the guide's case: its objects by kind."""
    values = tmp_path_factory.mktemp("values") / "secrets-values.yaml"
    values.write_text(guide.outputs["guide"]["secrets_values"])
    done = run(
        "helm", "template", "longhaul-secrets", str(SECRETS_CHART), "--namespace", "longhaul", "--values", str(values)
    )
    assert done.returncode == 0, done.stderr
    return {one["kind"]: one for one in yaml.safe_load_all(done.stdout) if one}


def test_every_object_is_valid(release: Release) -> None:
    problems = {one["metadata"]["name"]: schemas.problems_of(one) for one in release.objects}
    assert not {name: found for name, found in problems.items() if found}


def test_the_sizes_arrive(release: Release) -> None:
    hpa = release.one("HorizontalPodAutoscaler", "api")["spec"]
    assert (hpa["minReplicas"], hpa["maxReplicas"]) == (3, 8)
    pool = release.one("ScaledObject", "worker-default")["spec"]
    assert pool["maxReplicaCount"] == 200
    assert pool["advanced"]["scalingModifiers"]["target"] == "5"
    assert release.container("Deployment", "worker-default")["resources"]["requests"] == {
        "cpu": "500m",
        "memory": "512Mi",
    }


def test_pods_get_tokens_for_their_own_identity(release: Release) -> None:
    for component in ("api", "controller"):
        _has_identity(release, component, f"Deployment longhaul-{component}")
    for pool in ("default", "long", "batch"):
        _has_identity(release, "worker", f"Deployment longhaul-worker-{pool}")


def _has_identity(release: Release, component: str, pods: str) -> None:
    account = release.one("ServiceAccount", component)["metadata"]
    assert account["annotations"]["azure.workload.identity/client-id"]
    template = dict(release.pods())[pods]
    assert template["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert template["spec"]["serviceAccountName"] == account["name"]


def test_pools_are_on_their_nodes(release: Release) -> None:
    pods = dict(release.pods())
    assert {template["spec"].get("nodeSelector", {}).get("longhaul.dev/nodes") for template in pods.values()} >= {
        "user",
        "long",
        "batch",
    }
    long = release.pod("Deployment", "worker-long")
    assert {"key": "longhaul.dev/nodes", "operator": "Equal", "value": "long", "effect": "NoSchedule"} in long[
        "tolerations"
    ]
    taints = [one["key"] for one in release.pod("Deployment", "worker-batch")["tolerations"]]
    assert {"longhaul.dev/nodes", "kubernetes.azure.com/scalesetpriority"} <= set(taints)
    assert "tolerations" not in release.pod("Deployment", "api")


def test_an_hours_job_is_waited_for(release: Release) -> None:
    sizing = size(parse(PRESETS["aks-guide"]))
    # Terraform's own tests hold the cluster autoscaler and the node pools to the same.
    assert (sizing.max_graceful_termination_seconds, sizing.drain_timeout_minutes) == (3660, 61)
    assert release.pod("Deployment", "worker-default")["terminationGracePeriodSeconds"] == 3660
    assert release.pod("Deployment", "worker-batch")["terminationGracePeriodSeconds"] < 120


def test_the_headroom_follows_the_clock(release: Release) -> None:
    scaled = release.one("ScaledObject", "headroom")["spec"]
    deployment = release.one("Deployment", "headroom")
    assert scaled["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (0, 7)
    assert scaled["triggers"][0]["metadata"]["desiredReplicas"] == "7"


def test_results_go_to_the_storage_account(release: Release) -> None:
    for name in ("api", "controller", "worker-default"):
        environment = release.environment("Deployment", name)
        assert environment["LONGHAUL_RESULT_STORE_URL"] == "az://longhaul/longhaul"
        assert json.loads(environment["LONGHAUL_RESULT_STORE_OPTIONS"]) == {
            "azure_storage_account_name": "longhaulabc12"
        }


def test_the_api_reaches_who_gives_tokens(release: Release) -> None:
    outside = [
        rule
        for rule in release.one("NetworkPolicy", "api")["spec"]["egress"]
        for peer in rule.get("to", [])
        if peer["ipBlock"]["cidr"] == "0.0.0.0/0"
    ]
    assert [port["port"] for rule in outside for port in rule["ports"]] == [443]


def test_the_secrets_have_what_the_chart_reads(release: Release, secrets: dict[str, dict[str, Any]]) -> None:
    synced = {
        one["secretName"]: {data["key"] for data in one["data"]}
        for one in secrets["SecretProviderClass"]["spec"]["secretObjects"]
    }
    assert synced == {"longhaul-postgres": {"url"}, "longhaul-redis": {"url", "address", "password"}}
    read: set[tuple[str, str]] = set()
    for _, template in release.pods():
        for container in template["spec"]["containers"]:
            for one in container.get("env", []):
                reference = one.get("valueFrom", {}).get("secretKeyRef")
                if reference:
                    read.add((reference["name"], reference["key"]))
    for parameter in release.one("TriggerAuthentication", "redis")["spec"]["secretTargetRef"]:
        read.add((parameter["name"], parameter["key"]))
    missing = {(name, key) for name, key in read if key not in synced.get(name, set())}
    assert not missing


def test_the_vault_is_asked_for_what_is_synced(secrets: dict[str, dict[str, Any]]) -> None:
    spec = secrets["SecretProviderClass"]["spec"]
    asked = {yaml.safe_load(one)["objectName"] for one in yaml.safe_load(spec["parameters"]["objects"])["array"]}
    assert asked == {data["objectName"] for one in spec["secretObjects"] for data in one["data"]}
    assert spec["parameters"]["clientID"] == "55555555-5555-5555-5555-555555555555"


def test_the_secrets_chart_is_valid(secrets: dict[str, dict[str, Any]]) -> None:
    kinds = {"ServiceAccount", "Deployment", "PodDisruptionBudget", "SecretProviderClass"}
    assert set(secrets) == kinds
    assert not [problem for kind in kinds - {"SecretProviderClass"} for problem in schemas.problems_of(secrets[kind])]
    mounted = secrets["Deployment"]["spec"]["template"]["spec"]["volumes"][0]["csi"]["volumeAttributes"]
    assert mounted["secretProviderClass"] == secrets["SecretProviderClass"]["metadata"]["name"]
    account = secrets["Deployment"]["spec"]["template"]["spec"]["serviceAccountName"]
    assert account == secrets["ServiceAccount"]["metadata"]["name"] == "longhaul-secrets"


def test_the_secrets_chart_asks_for_its_values(helm: None) -> None:
    done = run("helm", "template", "longhaul-secrets", str(SECRETS_CHART))
    assert "take the values from `terraform output -raw secrets_values`" in done.stderr


def test_keda_is_set_as_in_k8s_addons() -> None:
    settings = yaml.safe_load((SOURCE.parent / "k8s" / "addons" / "keda.values.yaml").read_text("utf-8"))
    assert settings == {"operator": {"replicaCount": 2}}, "change terraform/modules/release/main.tf, too"
