"""The values that `longhaul size` emits, installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from tests.e2e.cluster import run
from tests.e2e.conftest import Figure
from tests.e2e.release import Release

LONGHAUL = str(Path(sys.executable).with_name("longhaul"))
EMITTED: dict[str, Any] = yaml.safe_load(
    run(LONGHAUL, "size", "--preset", "aks-guide", "--emit", "helm", "--numbers", "guide").stdout
)
# The other tests' values switch the API's HPA off.
EMITTED["api"] |= {"replicas": None}
EMITTED["api"]["autoscaling"] |= {"enabled": True}
VALUES = EMITTED


def test_the_guides_values_install_and_a_job_runs(release: Release, figure: Figure) -> None:
    job = release.api.submit("demo.echo", {"payload": 42})
    release.wait_done([job.id])
    hpa = json.loads(release.kubectl("get", "hpa", f"{release.name}-api", "--output=json"))["spec"]
    pool = json.loads(release.kubectl("get", "scaledobject", f"{release.name}-worker-default", "--output=json"))["spec"]
    assert (hpa["minReplicas"], hpa["maxReplicas"], pool["maxReplicaCount"]) == (3, 8, 200)
    figure("longhaul size --emit helm, installed: API pods, workers at most", f"{hpa['maxReplicas']}, 200")
