"""Every pod passes Pod Security `restricted`, and holds no credential that it does not need."""

from __future__ import annotations

from typing import Any

from tests.charts.release import Release


def test_every_pod_passes_restricted(example: Release) -> None:
    assert {name: wrong for name, pod in example.pods() if (wrong := _violations(pod["spec"]))} == {}


def test_the_check_of_restricted_finds_what_it_forbids() -> None:
    """As the policy says it: see Kubernetes' Pod Security Standards."""
    container = {"name": "x", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    pod = {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    assert _violations(pod) == []
    assert _violations({**pod, "hostNetwork": True}) == ["hostNetwork"]
    assert _violations({**pod, "securityContext": {"runAsNonRoot": True}}) == ["x: seccomp"]
    assert _violations({**pod, "containers": [{"name": "x"}]}) == ["x: escalation", "x: capabilities"]
    assert _violations({**pod, "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}) == ["volume v"]


def test_no_container_writes_to_its_root(default: Release) -> None:
    for name, pod in default.pods():
        for container in _containers(pod["spec"]):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, (name, container["name"])


def test_uids_are_numbers(default: Release) -> None:
    """Kubernetes can't tell that a user who is named is not root."""
    for name, pod in default.pods():
        assert pod["spec"]["securityContext"]["runAsUser"] > 0, name


def test_only_the_controller_and_one_test_hold_a_token(example: Release) -> None:
    holders = {name for name, pod in example.pods() if pod["spec"]["automountServiceAccountToken"]}
    assert {name.rpartition("-")[2] for name in holders} <= {"controller", "deletion"}
    for account in example.all("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_the_controller_may_patch_pods_and_read_its_deployments(default: Release) -> None:
    assert default.one("Role", "controller")["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "patch"]},
        {
            "apiGroups": ["apps"],
            "resources": ["deployments", "deployments/scale"],
            "resourceNames": ["longhaul-worker-default"],
            "verbs": ["get"],
        },
    ]


def test_the_tests_role_ends_with_them(default: Release) -> None:
    role = default.one("Role", "test")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]}]
    assert role["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert "hook-succeeded" in role["metadata"]["annotations"]["helm.sh/hook-delete-policy"]


def _containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [*spec.get("initContainers", []), *spec["containers"]]


def _violations(spec: dict[str, Any]) -> list[str]:
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    found = [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    found += [f"volume {one['name']}" for one in spec.get("volumes", []) if not set(one) - {"name"} <= allowed]
    pod = spec.get("securityContext", {})
    for container in _containers(spec):
        own = container.get("securityContext", {})
        seccomp = own.get("seccompProfile", pod.get("seccompProfile", {}))
        rules = {
            "root": own.get("runAsNonRoot", pod.get("runAsNonRoot")) is True
            and own.get("runAsUser", pod.get("runAsUser", 1)),
            "seccomp": seccomp.get("type") in ("RuntimeDefault", "Localhost"),
            "escalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities": own.get("capabilities", {}).get("drop") == ["ALL"]
            and set(own["capabilities"].get("add", [])) <= {"NET_BIND_SERVICE"},
            "privileged": not own.get("privileged"),
            "host port": not any(port.get("hostPort") for port in container.get("ports", [])),
        }
        found += [f"{container['name']}: {rule}" for rule, holds in rules.items() if not holds]
    return found
