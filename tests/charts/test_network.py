"""NetworkPolicies: nothing may talk, but who must."""

from __future__ import annotations

from typing import Any

from tests.charts.release import CHART, Release, render

RELEASE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"


def ports(rules: list[dict[str, Any]]) -> set[int | str]:
    return {port["port"] for rule in rules for port in rule["ports"]}


def policy(release: Release, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = release.one("NetworkPolicy", name)["spec"]
    return spec


def test_everything_is_denied_first(default: Release) -> None:
    assert policy(default, "deny") == {
        "podSelector": {"matchLabels": {RELEASE: "longhaul"}},
        "policyTypes": ["Ingress", "Egress"],
    }


def test_every_pod_is_under_the_denial_and_one_of_its_own(example: Release) -> None:
    selectors = [one["spec"]["podSelector"]["matchLabels"] for one in example.all("NetworkPolicy")]
    for name, pod in example.pods():
        labels = pod["metadata"]["labels"]
        if not selectors or labels[COMPONENT] == "headroom":
            continue  # headroom talks to nobody
        matching = [one for one in selectors if one.items() <= labels.items()]
        assert len(matching) == 2, name


def test_the_api_reaches_its_servers_only(default: Release) -> None:
    assert ports(policy(default, "api")["egress"]) == {53, 5432, 6379}
    assert ports(policy(default, "api")["ingress"]) == {"http"}


def test_the_api_may_be_called_by_everyone_or_by_some(default: Release) -> None:
    assert "from" not in policy(default, "api")["ingress"][0]
    gateways = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateways"}}}
    some = policy(render({"networkPolicy": {"apiFrom": [gateways]}}), "api")["ingress"][0]["from"]
    assert some[0] == gateways
    assert some[1]["podSelector"]["matchLabels"][COMPONENT] == "test"


def test_jobs_reach_https_outside_and_nothing_private(default: Release) -> None:
    *own, outside = policy(default, "worker")["egress"]
    assert ports(own) == {53, 5432, 6379}
    assert ports([outside]) == {443}
    block = outside["to"][0]["ipBlock"]
    assert {"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"} <= set(block["except"])


def test_only_the_controller_and_the_tests_reach_the_control_plane(default: Release) -> None:
    reach = {
        one["metadata"]["name"] for one in default.all("NetworkPolicy") if 6443 in ports(one["spec"].get("egress", []))
    }
    assert reach == {"longhaul-controller", "longhaul-test"}


def test_the_result_store_is_reached_by_those_who_use_it() -> None:
    block = {"ipBlock": {"cidr": "192.0.2.30/32"}}
    store = {"url": "s3://bucket", "port": 9000}
    release = render({"resultStore": store, "networkPolicy": {"resultStoreTo": [block]}})
    for name in ("api", "worker", "controller"):
        assert {"ports": [{"protocol": "TCP", "port": 9000}], "to": [block]} in policy(release, name)["egress"]


def test_webhooks_reach_https_outside_and_nothing_private(default: Release) -> None:
    assert not [rule for rule in policy(default, "controller")["egress"] if "ipBlock" in str(rule)]
    (outside,) = [
        rule
        for rule in policy(render({"webhooks": {"existingSecret": "webhooks"}}), "controller")["egress"]
        if "ipBlock" in str(rule)
    ]
    assert ports([outside]) == {443}
    assert {"10.0.0.0/8", "169.254.0.0/16"} <= set(outside["to"][0]["ipBlock"]["except"])


def test_the_migration_and_the_registration_reach_the_ledger_only(default: Release) -> None:
    for name in ("migrate", "register"):
        assert ports(policy(default, name)["egress"]) == {53, 5432}
        assert "ingress" not in policy(default, name)


def test_the_development_servers_let_their_callers_in(default: Release) -> None:
    def callers(name: str) -> set[str]:
        peer = policy(default, name)["ingress"][0]["from"][0]["podSelector"]
        assert peer["matchLabels"] == {RELEASE: "longhaul"}
        return set(peer["matchExpressions"][0]["values"])

    def wanting(port: int) -> set[str]:
        return {
            one["spec"]["podSelector"]["matchLabels"][COMPONENT]
            for one in default.all("NetworkPolicy")
            if port in ports(one["spec"].get("egress", []))
        }

    assert callers("postgres") == wanting(5432)
    assert callers("redis") == wanting(6379)
    assert "egress" not in policy(default, "postgres")


def test_keda_may_ask_the_development_redis(default: Release) -> None:
    peers = policy(default, "redis")["ingress"][0]["from"]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}} in peers


def test_ports_and_places_of_ones_own_servers() -> None:
    egress = policy(render(file=CHART / "ci" / "urls-values.yaml"), "api")["egress"]
    by_port = {rule["ports"][0]["port"]: rule for rule in egress}
    assert by_port[6432]["to"] == [{"ipBlock": {"cidr": "192.0.2.10/32"}}]
    assert by_port[6380]["to"] == [{"ipBlock": {"cidr": "192.0.2.20/32"}}]
    assert ports([by_port[6380]]) == {6380, 6390}


def test_ports_where_the_urls_are_in_secrets() -> None:
    release = render(file=CHART / "ci" / "production-values.yaml")
    assert ports(policy(release, "api")["egress"]) == {53, 5432, 10000, 4318, 443}


def test_metrics_are_read_only_where_something_reads_them(default: Release) -> None:
    assert "ingress" not in policy(default, "worker")
    monitored = render({"monitoring": {"podMonitor": {"enabled": True}}})
    for name in ("worker", "controller"):
        assert ports(policy(monitored, name)["ingress"]) == {"probes"}


def test_policies_can_be_left_to_others() -> None:
    assert not render({"networkPolicy": {"enabled": False}}).all("NetworkPolicy")
