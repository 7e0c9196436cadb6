"""`python -m tests.e2e.images`: build the three images and hand them to the cluster's nodes."""

from __future__ import annotations

import shlex
import subprocess

from tests.e2e.cluster import ROOT
from tests.e2e.settings import E2ESettings

if __name__ == "__main__":
    settings = E2ESettings()
    for service in ("api", "worker", "controller"):
        image = f"longhaul-{service}:{settings.tag}"
        for command in (settings.build, settings.load):
            words = shlex.split(command.format(image=image, dockerfile=f"services/{service}/Dockerfile"))
            if words:
                subprocess.run(words, cwd=ROOT, check=True)
