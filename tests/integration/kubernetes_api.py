"""The part of the Kubernetes API that the controller asks, on this machine: to be away, slow, or to refuse.

What a real API server makes of it is tested in `tests/e2e`.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: here, user: me}}}}]
clusters: [{{name: here, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: me, user: {{token: a-token}}}}]
"""

PODS = "/api/v1/namespaces/longhaul/pods"


class KubernetesApi:
    """Pods by name, with their annotations; each request counts."""

    def __init__(self, *pods: str) -> None:
        self.pods: dict[str, dict[str, str]] = {name: {} for name in pods}
        self.refusal: int | None = None
        """A status to answer every request with."""
        self.gone: set[str] = set()
        """Pods that went after they were listed."""
        self.statuses: dict[str, dict[str, Any]] = {}
        """Of pods that are asked for by name."""
        self.objects: dict[str, Any] = {}
        """What it answers with for a pod that is asked for by name, instead of a pod; bytes as they are."""
        self.more_items: list[Any] = []
        """What stands in a list of pods before the pods."""
        self.lists: list[dict[str, list[str]]] = []
        """The queries of all lists."""
        self.patches: list[tuple[str, dict[str, Any]]] = []
        """The pods that were patched, in order, with what was sent."""
        self._goes_on = threading.Event()
        self._goes_on.set()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                assert parts.path.startswith(PODS)
                assert self.headers["Authorization"] == "Bearer a-token"
                api._goes_on.wait()
                if name := parts.path.removeprefix(PODS).lstrip("/"):
                    return self._answer_pod(name)
                api.lists.append(parse_qs(parts.query))
                pods = [{"metadata": {"name": name, "annotations": notes}} for name, notes in api.pods.items()]
                return self._answer({"items": [*api.more_items, *pods] or None})  # null, as the real one

            def _answer_pod(self, name: str) -> None:
                if name not in api.pods or name in api.gone:
                    return self._answer({"message": f'pods "{name}" not found'}, 404)
                if name in api.objects:
                    return self._answer(api.objects[name])
                container = {"name": "worker", "resources": {"limits": {"memory": "512Mi"}}}
                return self._answer({"spec": {"containers": [container]}, "status": api.statuses.get(name, {})})

            def do_PATCH(self) -> None:
                name = urlsplit(self.path).path.rpartition("/")[2]
                assert self.headers["Content-Type"] == "application/merge-patch+json"
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["metadata"]["annotations"]
                api._goes_on.wait()
                if name in api.gone:
                    return self._answer({"message": f'pods "{name}" not found'}, 404)
                if api.refusal is None:
                    api.patches.append((name, sent))
                    merged = {**api.pods[name], **sent}
                    api.pods[name] = {key: value for key, value in merged.items() if value is not None}
                return self._answer({"metadata": {"name": name}})

            def _answer(self, body: object, status: int = 200) -> None:
                said = {"message": "no"} if api.refusal else body
                content = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(api.refusal or status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def write_kubeconfig(self, path: Path) -> None:
        path.write_text(KUBECONFIG.format(port=self._server.server_port))

    def hang(self) -> None:
        """Take requests, and answer none."""
        self._goes_on.clear()

    def go_on(self) -> None:
        self._goes_on.set()

    def close(self) -> None:
        self.go_on()
        self._server.shutdown()
        self._server.server_close()
