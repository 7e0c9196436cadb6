"""A task that says which code runs it."""

from __future__ import annotations

import sys

from pydantic import BaseModel

from longhaul import Job, task


class Modules(BaseModel):
    names: list[str]


class Files(BaseModel):
    files: list[str]


@task(name="canary.where")
def where(_job: Job, params: Modules) -> Files:
    """The files that the process of this task has loaded these modules from."""
    return Files(files=[str(sys.modules[name].__file__) for name in params.names])
