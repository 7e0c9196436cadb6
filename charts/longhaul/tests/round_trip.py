"""A job goes in, runs, and its result comes out."""
# ruff: noqa: INP001, T201 - a script of a ConfigMap; it prints what `helm test --logs` shows

import os
import sys
import time

from access import open_client

with open_client() as client:
    began = time.monotonic()
    job = client.submit("demo.echo", {"payload": "there and back"}, queue=os.environ["LONGHAUL_TEST_QUEUE"])
    job = client.wait(job.id)
    print(f"{job.id}: {job.state} after {time.monotonic() - began:.1f} s")
    if job.state != "succeeded" or client.result(job.id) != {"echo": "there and back"}:
        sys.exit("The job did not come back as it was sent.")
