"""Tasks that take down what runs them. The tests put this file into worker pods, as a user's own module of tasks."""

import subprocess
import sys

from pydantic import BaseModel

from longhaul import Job, task

# In a process that is small itself, and of memory that belongs to none: the kernel takes the larger ones first, and so
# every process of the container, the keeper too, whether the cgroup says to kill all of them at once or not.
FILL = "import os\nfile = os.memfd_create('full')\nwhile True: os.write(file, bytes(2**20))"


class Nothing(BaseModel):
    pass


@task(name="poison.container", max_interruptions=2, backoff=1, timeout=300)
def container(job: Job, params: Nothing) -> Nothing:
    """Fill the memory of the container until it is killed, each time."""
    job.log("About to fill the memory.")
    job.checkpoint({"attempt": job.attempt})
    subprocess.run([sys.executable, "-I", "-S", "-c", FILL], check=True)
    return params


@task(name="poison.process", max_interruptions=1, backoff=1, timeout=300)
def process(job: Job, params: Nothing) -> Nothing:
    """Fill the memory of this process until it is killed, each time."""
    job.log("About to fill my own memory.")
    job.checkpoint({"attempt": job.attempt})
    held = []
    while True:
        held.append(b"\x01" * 2**24)
