"""`python -m tests.e2e.images`: build the three images and hand them to the cluster's nodes."""

from __future__ import annotations

import shlex
import subprocess

from tests.e2e.cluster import ROOT, why_none
from tests.e2e.settings import E2ESettings


def build_and_load(settings: E2ESettings) -> None:
    """Raises subprocess.CalledProcessError."""
    for service in ("api", "worker", "controller"):
        image = f"longhaul-{service}:{settings.tag}"
        for command in (settings.build, settings.load):
            if words := shlex.split(command.format(image=image, dockerfile=f"services/{service}/Dockerfile")):
                subprocess.run(words, cwd=ROOT, check=True)


if __name__ == "__main__" and why_none() is None:  # the tests say why there is none
    build_and_load(E2ESettings())
