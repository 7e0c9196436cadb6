"""The chart's values, as far as the simulation goes by them.

An installed `longhaul` does not have the chart at hand; a test compares this with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

CHART_DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "autoscaling": {"mode": "keda"},
        "api": {
            "replicas": None,
            "autoscaling": {"minReplicas": 3},
            "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}},
        },
        "controller": {
            "replicas": 2,
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
            "deletionCost": {"enabled": True},
        },
        "headroom": {"enabled": False, "replicas": 2, "resources": None},
        "worker": {
            "poolDefaults": {
                "mode": "deployment",
                "queues": ["default"],
                "slots": 5,
                "maxJobSeconds": 3600,
                "drainSeconds": None,
                "handoverSeconds": 30,
                "terminationGracePeriodSeconds": None,
                "replicas": None,
                "autoscaling": {
                    "mode": None,
                    "minReplicas": 1,
                    "maxReplicas": 200,
                    "target": None,
                    "pollingIntervalSeconds": 5,
                    "cooldownSeconds": 300,
                    "scaleUp": {
                        "stabilizationWindowSeconds": 0,
                        "selectPolicy": "Max",
                        "policies": [
                            {"type": "Percent", "value": 900, "periodSeconds": 15},
                            {"type": "Pods", "value": 100, "periodSeconds": 15},
                        ],
                    },
                    "scaleDown": {
                        "stabilizationWindowSeconds": 300,
                        "selectPolicy": "Max",
                        "policies": [{"type": "Percent", "value": 25, "periodSeconds": 60}],
                    },
                    "fallbackFailures": 3,
                    "annotations": {},
                },
                "job": {"idleSeconds": 60},
                "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}},
            },
            "pools": {"default": {}},
        },
    }
)

# All keys that there are, so that a slip is found.
_OF_CHART = """
    api autoscaling backing controller database events extraObjects fullnameOverride global headroom image jobs
    keda labels lease logs monitoring nameOverride networkPolicy priorityClass redis resultStore securityContext
    telemetry tests webhooks worker
"""
_OF_POOL = """
    affinity autoscaling command deafSeconds deepQueue drainSeconds extraEnv extraEnvFrom extraInitContainers
    extraVolumeMounts extraVolumes handoverSeconds image job maxJobSeconds maxJobsPerChild maxMemoryPerChildKib
    mode nodeSelector podAnnotations podDisruptionBudget podLabels priorityClassName queues replicas resources
    slots spoolSize spot startupSeconds strategy tasks terminationGracePeriodSeconds tmpSize tolerations
    topologySpreadConstraints
"""
CHART_KEYS: Final = frozenset(_OF_CHART.split())
POOL_KEYS: Final = frozenset(_OF_POOL.split())
