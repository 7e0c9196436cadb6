"""The module `sizing` and `longhaul size` come to the same numbers, and so does the chart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.infra.inventory import declared
from tests.infra.terraform import SOURCE, Outcome, Tree

from longhaul.sizing import emit
from longhaul.sizing.assumptions import PRESETS, Assumptions, parse
from longhaul.sizing.sizing import Sizing, size

CHART = Path(__file__).parents[2] / "charts" / "longhaul"
_ATTRIBUTE = re.compile(r"^    (\w+)\s+= optional\(", re.MULTILINE)
GUIDE = PRESETS["aks-guide"]
CASES: dict[str, dict[str, float]] = {
    "the guide": {},
    "no oversubscription": {"tasks_per_worker": 1},
    "workers that fill a node to the last millicore": {"node_daemons_cpu": 0.3},
    "memory decides": {"worker_memory_gib": 4, "api_memory_gib": 3.1},
    "thirty nodes and a tenth": {"concurrent_tasks": 1050, "node_headroom": 1.1},
    "a rate that is no whole number": {"request_rate_per_second": 33.3, "api_headroom": 1.1},
    "ten requests a third": {"request_rate_per_second": 100, "api_requests_per_second_per_pod": 30, "api_headroom": 3},
    "next to nothing": {"request_rate_per_second": 1, "concurrent_tasks": 1, "tasks_per_worker": 5},
    "one worker a node, and much API": {"worker_cpu": 3.5, "request_rate_per_second": 4000},
    "a tenth of a core": {"worker_cpu": 0.1, "api_cpu": 0.1, "task_cpu": 0.3, "node_cpu": 3.9},
}


def expected(sizing: Sizing) -> dict[str, Any]:
    """What the module gives, as `longhaul size` has it."""
    guide, packed = sizing.guide, sizing.packed
    return {
        "api_min_replicas": guide.api_min_replicas,
        "api_max_replicas": guide.api_max_replicas,
        "worker_max_replicas": guide.worker_max_replicas,
        "keda_target": guide.keda_target,
        "peak_cpu": guide.peak_cpu,
        "peak_memory_gib": guide.peak_memory_gib,
        "guide_nodes": guide.nodes,
        "guide_nodes_max": guide.nodes_max,
        "workers_per_node": guide.workers_per_node,
        "packed_nodes": packed.nodes,
        "packed_nodes_max": packed.nodes_max,
        "oversubscription": guide.oversubscription,
    }


@pytest.mark.parametrize("case", CASES)
def test_it_agrees_with_longhaul_size(tree: Tree, case: str) -> None:
    tree.init("modules/sizing")
    assumptions = {**GUIDE, **CASES[case]}
    outputs = tree.apply("modules/sizing", {"assumptions": assumptions})
    wanted = expected(size(parse(assumptions)))
    assert {name: outputs[name] for name in wanted} == pytest.approx(wanted, rel=1e-9)


def test_the_guide_is_the_default(tree: Tree) -> None:
    tree.init("modules/sizing")
    outputs = tree.apply("modules/sizing", {})
    wanted = expected(size(parse(GUIDE)))
    assert {name: outputs[name] for name in wanted} == pytest.approx(wanted)
    figures = (
        "api_max_replicas",
        "worker_max_replicas",
        "guide_nodes",
        "guide_nodes_max",
        "packed_nodes",
        "packed_nodes_max",
    )
    assert [outputs[name] for name in figures] == [8, 200, 27, 30, 30, 33]


@pytest.mark.parametrize("numbers", ["guide", "needed"])
def test_it_takes_what_longhaul_size_emits(tree: Tree, numbers: str) -> None:
    tree.init("modules/sizing")
    sizing = size(parse(GUIDE))
    fleet = getattr(sizing, numbers)
    variables = emit.terraform_variables(sizing.assumptions, fleet)
    outputs = tree.apply("modules/sizing", variables)
    assert outputs["api_max_replicas"] == fleet.api_max_replicas
    assert outputs["worker_max_replicas"] == fleet.worker_max_replicas
    assert outputs["keda_target"] == fleet.keda_target
    assert outputs["packed_nodes"] == (sizing.packed if numbers == "guide" else fleet).nodes


def test_its_assumptions_are_named_as_those_of_longhaul_size() -> None:
    module, root = (
        set(_ATTRIBUTE.findall(declared(folder, "variable")["assumptions"]))
        for folder in (SOURCE / "modules/sizing", SOURCE)
    )
    sizing = size(parse(GUIDE))
    emitted = emit.terraform_variables(sizing.assumptions, sizing.needed)["assumptions"]
    # Terraform says nothing to attributes that it doesn't know.
    assert module == root == set(emitted)
    assert module <= set(Assumptions.model_fields)


def test_the_charts_defaults_are_the_same(guide: Outcome) -> None:
    values = yaml.safe_load(guide.outputs["guide"]["helm_values"])
    defaults = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    for path in (
        ("api", "autoscaling", "minReplicas"),
        ("api", "autoscaling", "maxReplicas"),
        ("api", "resources"),
        ("worker", "poolDefaults", "slots"),
        ("worker", "poolDefaults", "maxJobSeconds"),
        ("worker", "poolDefaults", "autoscaling", "maxReplicas"),
        ("worker", "poolDefaults", "resources"),
    ):
        assert _at(values, path) == _at(defaults, path), ".".join(path)


def test_its_values_are_those_that_longhaul_size_emits(guide: Outcome) -> None:
    sizing = size(parse(GUIDE))
    values = yaml.safe_load(guide.outputs["guide"]["helm_values"])
    for path, wanted in _leaves(emit.helm_values(sizing.assumptions, sizing.guide)):
        if path[-1] != "targetCPUUtilizationPercentage":  # the chart's own
            assert _at(values, path) == wanted, ".".join(path)


def _at(values: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        values = values[name]
    return values


def _leaves(values: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if not isinstance(values, dict):
        return [(path, values)]
    return [leaf for name, one in values.items() for leaf in _leaves(one, (*path, name))]
