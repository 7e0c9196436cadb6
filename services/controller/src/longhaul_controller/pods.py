"""The Kubernetes API's pods of this release's workers. The only module that knows its client."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from longhaul_controller.failures import Outage
from longhaul_controller.pod_objects import Pod, PodEnd, parse_end, parse_pods

_PODS = "/api/v1/namespaces/{namespace}/pods"
_POD = f"{_PODS}/{{name}}"
UNREACHABLE = "unreachable"
UNREADABLE = "unreadable"
_ANSWER_SECONDS = 5.0
# Names and annotations only: a pod's spec and status are ten times as much.
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_NOT_FOUND = 404


class KubernetesError(Outage):
    """The Kubernetes API did not do what it was asked for."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        """The status that it answered with, `UNREACHABLE`, or `UNREADABLE`."""
        super().__init__(message)


class Pods:
    """Uses the service account of its own pod, or the kubeconfig outside of a cluster. Connects at the first call."""

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
        return parse_pods(answer)

    async def read_end(self, name: str, *, since: datetime) -> PodEnd | None:
        """How a pod, or its container, ended after `since`; None if it did not, as far as the API server knows.

        Raises KubernetesError.
        """
        try:
            pod = await self._call("GET", _POD, name=name, headers={"Accept": "application/json"})
        except KubernetesError as error:
            if error.reason == str(_NOT_FOUND):
                return PodEnd(reason="Deleted")
            raise
        return parse_end(pod, since=since)

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
        except Exception as error:
            raise KubernetesError(UNREACHABLE, "The Kubernetes API did not answer.") from error
        if not 200 <= response.status < 300:
            raise KubernetesError(str(response.status), content.decode(errors="replace")[:500])
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise KubernetesError(UNREADABLE, "The Kubernetes API answered with what is not JSON.") from error

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
