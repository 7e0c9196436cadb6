"""Pods, as far as the controller reads the Kubernetes API's objects. Any field of them may be missing or odd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from longhaul_controller.tolerant_json import Node

_RESOLUTION = timedelta(seconds=1)  # of the times in a pod's status


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod that runs and is not on its way out."""

    name: str
    annotations: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class PodEnd:
    """How a pod, or the last of its containers that ended, did so."""

    reason: str
    """`OOMKilled`, `Error`, `Evicted` and so on, as Kubernetes says; `Deleted` if the pod does not exist any more."""
    message: str = ""
    exit_code: int | None = None
    """Of the container; None if the pod was taken as a whole, or if it is not known."""
    memory_limit: str | None = None

    @property
    def is_oom_killed(self) -> bool:
        return self.reason == "OOMKilled"


def parse_pods(answer: object) -> list[Pod]:
    """The pods of a list that are not on their way out. One that has no name can't be read, and is left out."""
    metadata = [item["metadata"] for item in Node(answer)["items"].elements()]
    return [
        Pod(name=name, annotations=one["annotations"].texts())
        for one in metadata
        if (name := one["name"].text()) and one["deletionTimestamp"].is_null
    ]


def parse_end(answer: object, *, since: datetime) -> PodEnd | None:
    """How a pod, or its container, ended after `since`; None if it did not.

    What ended before `since` was another worker's: a container that restarts keeps its pod's name. An end without a time
    is that of the pod's last container, and tells less than why the pod was taken as a whole.
    """
    pod = Node(answer)
    undated = None
    for container in pod["status"]["containerStatuses"].elements():
        newest, before = container["state"]["terminated"], container["lastState"]["terminated"]
        for end in (newest, before):
            ended_at = end["finishedAt"].time()
            if ended_at is not None and ended_at >= since - _RESOLUTION:
                return _container_end(pod, container["name"], end)
        if newest.is_object and newest["finishedAt"].time() is None:
            undated = _container_end(pod, container["name"], newest)
    if reason := pod["status"]["reason"].text():  # the kubelet, or the control plane, took it as a whole
        return PodEnd(reason=reason, message=pod["status"]["message"].text())
    return undated


def _container_end(pod: Node, name: Node, end: Node) -> PodEnd:
    limits = (one["resources"]["limits"] for one in pod["spec"]["containers"].elements() if one["name"] == name)
    return PodEnd(
        reason=end["reason"].text() or "Error",
        message=end["message"].text(),
        exit_code=end["exitCode"].integer(),
        memory_limit=next(limits, Node(None))["memory"].text() or None,
    )
