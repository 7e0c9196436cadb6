"""Pools of Helm values, and clusters of files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs.generate import ROOT

from longhaul.errors import ConfigurationError
from longhaul.sizing.assumptions import Assumptions
from longhaul.sizing.packing import Pods, Room
from longhaul_cli.simulator import Cluster, Mode
from longhaul_cli.simulator.chart import CHART_DEFAULTS, CHART_KEYS, POOL_KEYS
from longhaul_cli.simulator.cluster import read_cluster
from longhaul_cli.simulator.hpa import PolicyType, Select
from longhaul_cli.simulator.scenario import read_scenario
from longhaul_cli.simulator.values import Release, merge, read_release

CHART: Mapping[str, Any] = yaml.safe_load((ROOT / "charts/longhaul/values.yaml").read_text("utf-8"))


def write(tmp_path: Path, text: str, name: str = "values.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def test_the_defaults_are_the_charts() -> None:
    assert within(CHART_DEFAULTS, CHART) == CHART_DEFAULTS
    # Whole, so that a new key of the chart is not taken for a slip.
    assert {*CHART, "global"} == CHART_KEYS
    assert CHART["worker"]["poolDefaults"].keys() == POOL_KEYS
    ours, charts = (one["worker"]["poolDefaults"]["autoscaling"] for one in (CHART_DEFAULTS, CHART))
    assert ours == charts


def within(wanted: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Of the values, the keys that are wanted."""
    return {
        key: within(value, values[key]) if isinstance(value, Mapping) and value else values[key]
        for key, value in wanted.items()
    }


def test_the_defaults_of_the_cluster_are_those_that_sizes_are_made_with() -> None:
    guide = {name: field.default for name, field in Assumptions.model_fields.items()}
    cluster = Cluster()
    assert cluster.node == Room.of(guide["node_cpu"], guide["node_memory_gib"])
    assert cluster.daemons == Room.of(guide["node_daemons_cpu"], guide["node_daemons_memory_gib"])
    assert cluster.min_nodes == guide["node_min"]
    assert cluster.max_nodes == 30
    assert cluster.node_start_seconds == guide["node_start_seconds"]
    assert cluster.pod_start_seconds == guide["pod_start_seconds"]


def test_the_charts_pool() -> None:
    release = Release({}, source="")
    (pool,) = release.pools
    assert (pool.name, pool.queues, pool.slots, pool.target) == ("default", ("default",), 5, 5)
    assert (pool.mode, pool.min_replicas, pool.max_replicas) == (Mode.KEDA, 1, 200)
    assert (pool.drain_seconds, pool.grace_seconds, pool.room) == (3600, 3660, Room(500, 512))
    assert [(one.type, one.value) for one in pool.up.policies] == [(PolicyType.PERCENT, 900), (PolicyType.PODS, 100)]
    assert (pool.up.stabilization_seconds, pool.down.stabilization_seconds) == (0, 300)
    assert release.others == (Pods(3, Room(250, 256)), Pods(2, Room(100, 128)))


def test_pools_say_what_differs(tmp_path: Path) -> None:
    below = write(
        tmp_path,
        """
        controller: {deletionCost: {enabled: false}}
        worker:
          poolDefaults: {maxJobSeconds: 600}
          pools:
            default: null
            reports:
              queues: [reports, default]
              slots: 1
              drainSeconds: 20
              resources: {requests: {cpu: "2", memory: 4Gi}}
              autoscaling: {minReplicas: 0, maxReplicas: 50, scaleDown: {selectPolicy: Min}}
            models: {mode: job, queues: [models], slots: 4}
            steady: {queues: [steady], replicas: 4, autoscaling: {mode: none}}
        """,
        "below.yaml",
    )
    above = write(tmp_path, "worker: {pools: {reports: {autoscaling: {target: 3, maxReplicas: 60}}}}")
    reports, models, steady = read_release([below, above]).pools
    assert (reports.queues, reports.slots, reports.target, reports.max_replicas) == (("reports", "default"), 1, 3, 60)
    assert (reports.drain_seconds, reports.grace_seconds, reports.room) == (20, 80, Room(2000, 4096))
    assert (reports.down.select, reports.down.stabilization_seconds) == (Select.MIN, 300)
    assert not reports.has_deletion_costs
    assert (models.mode, models.slots, models.target, models.min_replicas) == (Mode.JOB, 1, 1, 0)
    assert models.drain_seconds == 600
    assert (steady.mode, steady.min_replicas) == (Mode.FIXED, 4)


def test_values_are_merged_as_helm_does() -> None:
    below = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}}
    assert merge(below, {"a": {"c": [3]}, "d": None, "f": 2}) == {"a": {"b": 1, "c": [3]}, "d": None, "f": 2}
    assert below == {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "worker: {pools: {default: {autoscaling: {maxReplicas: lots}}}}",
            "worker.pools.default.autoscaling.maxReplicas is 'lots': ",
        ),
        (
            "worker: {pools: {default: {autoscaling: {maxReplica: 5}}}}",
            "worker.pools.default.autoscaling.maxReplica is not known here",
        ),
        ("worker: {pools: {a: {autoscaling: {minReplicas: 300}}}}", "worker.pools.a.autoscaling.minReplicas is 300"),
        ("worker: {pools: {a: {slots: 0}}}", "worker.pools.a.slots is 0: "),
        (
            "worker: {pools: {a: {resources: {requests: {cpu: fast}}}}}",
            "worker.pools.a.resources.requests.cpu is 'fast': write a quantity",
        ),
        (
            "worker: {pools: {a: {autoscaling: {scaleUp: {policies: [{type: Node, value: 1, periodSeconds: 15}]}}}}}",
            "worker.pools.a.autoscaling.scaleUp.policies.0.type is 'Node'",
        ),
        ("workers: {pools: {}}", "the chart has no workers: "),
        ("worker: {pools: {a: {slot: 1}}}", "the chart has no worker.pools.a.slot: "),
        ("worker: {poolDefaults: {slot: 1}}", "the chart has no worker.poolDefaults.slot: "),
        ("worker: {pools: [a]}", "worker.pools is ['a']: say a mapping"),
        ("worker: {pools: {default: null}}", "worker.pools has no pool"),
        ("autoscaling: {mode: magic}", "autoscaling.mode is 'magic'"),
        ("worker: {pools: {default: {resources: {requests: {cpu: 4}}}}}", "a node has 3550m"),
        ("worker: {pools: {default: {queues: [a]}}}", "no pool serves default"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_scenario([write(tmp_path, text)], None).check(["default"])
    assert said in caught.value.message
    assert "values.yaml" in caught.value.message


def test_a_cluster_says_what_differs(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        node: {cpu: 7.8, memory: 28Gi}
        max_nodes: 50
        node_start_seconds: 83
        node_hour_price: 0.4
        currency: EUR
        other_pods: [{count: 3, cpu: 500m, memory: 1Gi}]
        """,
        "cluster.yaml",
    )
    beside = (Pods(1, Room(100, 100)),)
    cluster = read_cluster(path).cluster(beside)
    assert (cluster.node, cluster.daemons) == (Room(7800, 28 * 1024), Cluster().daemons)
    assert (cluster.min_nodes, cluster.max_nodes, cluster.node_start_seconds) == (2, 50, 83)
    assert cluster.others == (*beside, Pods(3, Room(500, 1024)))
    assert (cluster.node_hour_price, cluster.currency) == (0.4, "EUR")
    assert read_cluster(None).cluster(()) == Cluster()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("min_nodes: 40", "min_nodes is 40, more than max_nodes"),
        ("node: {cpu: 4}", "node.memory is missing."),
        ("node_start: 5", "node_start is not known here"),
    ],
)
def test_what_is_wrong_with_a_cluster_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_cluster(write(tmp_path, text))
    assert said in caught.value.message
