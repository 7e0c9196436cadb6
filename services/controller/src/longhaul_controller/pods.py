"""The pods of this release's workers, as the Kubernetes API shows them. The only module that knows its client."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import orjson
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

_PODS = "/api/v1/namespaces/{namespace}/pods"
_POD = f"{_PODS}/{{name}}"
UNREACHABLE = "unreachable"
_ANSWER_SECONDS = 5.0
# Names and annotations only: a pod's spec and status are ten times as much.
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_NOT_FOUND = 404
_RESOLUTION = timedelta(seconds=1)  # of the times in a pod's status


class KubernetesError(Exception):
    """The Kubernetes API did not do what it was asked."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        """The status that it answered with, or `UNREACHABLE`."""
        super().__init__(message)


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod that runs and is not on its way out."""

    name: str
    annotations: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class PodEnd:
    """How a pod, or the last of its containers that ended, did so."""

    reason: str
    """`OOMKilled`, `Error`, `Evicted` and so on, as Kubernetes says; `Deleted` for one that is not there any more."""
    message: str = ""
    exit_code: int | None = None
    """Of the container; None where the pod was taken as a whole."""
    memory_limit: str | None = None

    @property
    def is_oom_killed(self) -> bool:
        return self.reason == "OOMKilled"


class Pods:
    """Uses the service account of its own pod, or outside of a cluster the kubeconfig. Connects when first asked."""

    FIELDS = "status.phase=Running"
    """Of the pods that `read` returns, beside the selector of their labels."""

    def __init__(self, *, namespace: str, selector: str) -> None:
        self._namespace = namespace
        self._selector = selector
        self._client: Any = None  # the client has no types

    async def read(self) -> list[Pod]:
        """The pods that run and match the selector, as the API server has them in memory. Raises KubernetesError."""
        query = [("labelSelector", self._selector), ("fieldSelector", self.FIELDS), ("resourceVersion", "0")]
        answer = await self._call("GET", _PODS, query=query, headers={"Accept": _METADATA_LIST})
        return [
            Pod(name=one["metadata"]["name"], annotations=one["metadata"].get("annotations", {}))
            for one in answer.get("items") or []  # null where there is none
            if "deletionTimestamp" not in one["metadata"]
        ]

    async def read_end(self, name: str, *, since: datetime) -> PodEnd | None:
        """How a pod, or its container, ended after `since`; None where it did not, as far as the API server knows.

        Raises KubernetesError.
        """
        try:
            pod = await self._call("GET", _POD, name=name, headers={"Accept": "application/json"})
        except KubernetesError as error:
            if error.reason == str(_NOT_FOUND):
                return PodEnd(reason="Deleted")
            raise
        return _parse_end(pod, since)

    async def annotate(self, name: str, annotations: Mapping[str, str | None]) -> None:
        """Write annotations, remove those that are None. A pod that is gone needs none. Raises KubernetesError."""
        try:
            await self._call(
                "PATCH",
                _POD,
                name=name,
                headers={"Accept": _METADATA, "Content-Type": "application/merge-patch+json"},
                body={"metadata": {"annotations": dict(annotations)}},
            )
        except KubernetesError as error:
            if error.reason != str(_NOT_FOUND):
                raise

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    async def _call(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str],
        query: list[tuple[str, str]] | None = None,
        body: Any = None,
        **names: str,
    ) -> Any:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                client = await self._connect()
                request = await client.param_serialize(
                    method,
                    path,
                    path_params={"namespace": self._namespace, **names},
                    query_params=query,
                    header_params=headers,
                    body=body,
                    auth_settings=["BearerToken"],
                )
                response = await client.call_api(*request)
                content = await response.read()
        except (config.ConfigException, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KubernetesError(UNREACHABLE, f"{type(error).__name__}: {error}") from error
        if not 200 <= response.status < 300:
            raise KubernetesError(str(response.status), content.decode(errors="replace")[:500])
        return orjson.loads(content)

    async def _connect(self) -> Any:
        if self._client is None:
            configuration: Any = Configuration()
            try:
                config.load_incluster_config(client_configuration=configuration)
            except config.ConfigException:
                await config.load_kube_config(client_configuration=configuration)
            # Since 3.13 Python asks of a CA what RFC 5280 does, which the CAs of many clusters lack.
            configuration.disable_strict_ssl_verification = True
            self._client = ApiClient(configuration)
        return self._client


def _parse_end(pod: Any, since: datetime) -> PodEnd | None:
    """What ended before `since` was another worker's: a container that restarts keeps its pod's name."""
    containers = {one["name"]: one for one in pod["spec"]["containers"]}
    for status in pod["status"].get("containerStatuses", []):
        end = status.get("state", {}).get("terminated") or status.get("lastState", {}).get("terminated")
        if end and datetime.fromisoformat(end["finishedAt"]) + _RESOLUTION >= since:
            limits = containers[status["name"]].get("resources", {}).get("limits", {})
            return PodEnd(
                reason=end.get("reason") or "Error",
                message=end.get("message") or "",
                exit_code=end["exitCode"],
                memory_limit=limits.get("memory"),
            )
    if reason := pod["status"].get("reason"):  # the kubelet, or the control plane, took it as a whole
        return PodEnd(reason=reason, message=pod["status"].get("message") or "")
    return None
