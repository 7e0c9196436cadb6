"""A job outlives the deletion of the pod that runs it: it ends there in peace, or goes on elsewhere from its checkpoint."""
# ruff: noqa: INP001, T201 - a script of a ConfigMap; it prints what `helm test --logs` shows

import os
import ssl
import sys
import time
from pathlib import Path

import httpx2
from access import open_client

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
STEPS = 20


def delete_pod(name: str) -> None:
    """As a scale-in or a rollout does it: with the pod's own grace period."""
    namespace = (ACCOUNT / "namespace").read_text()
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    server = f"https://{f'[{host}]' if ':' in host else host}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    trusted.verify_flags &= ~ssl.VERIFY_X509_STRICT  # not every cluster's CA has all the extensions of RFC 5280
    answer = httpx2.delete(
        f"{server}/api/v1/namespaces/{namespace}/pods/{name}",
        headers={"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"},
        verify=trusted,
        timeout=10,
    )
    answer.raise_for_status()


with open_client() as client:
    job = client.submit("demo.sleep", {"seconds": STEPS, "steps": STEPS}, queue=os.environ["LONGHAUL_TEST_QUEUE"])
    for event in client.events(job.id):
        if event.type == "progress" and event.data["fraction"] >= 0.2:
            break
    pod = client.attempts(job.id)[-1].worker
    assert pod is not None
    print(f"{job.id} runs on {pod}, which is deleted now")
    delete_pod(pod)
    deleted = time.monotonic()
    job = client.wait(job.id)
    attempts = client.attempts(job.id)
    print(
        f"{job.state} {time.monotonic() - deleted:.1f} s later, after {len(attempts)} attempt(s): "
        + ", ".join(f"{attempt.worker} {attempt.ending}" for attempt in attempts)
    )
    if job.state != "succeeded" or client.result(job.id)["steps_done"] != STEPS:
        sys.exit("The job did not survive.")
