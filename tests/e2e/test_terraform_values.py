"""What `terraform output -raw helm_values` gives, installed, with Azure's part of it in this cluster's place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.e2e.cluster import ROOT, run
from tests.e2e.release import Release
from tests.e2e.settings import E2ESettings
from tests.infra import terraform

SERVERS = "servers"


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The guide's case, planned with mocks."""
    planned = terraform.copy_to(tmp_path_factory.mktemp("terraform")).guide()
    found: dict[str, Any] = yaml.safe_load(planned.outputs["guide"]["helm_values"])
    return found


@pytest.fixture(scope="module")
def secrets(namespace: str, settings: E2ESettings) -> None:
    """PostgreSQL and Redis outside of the release, and their Secrets under the names that Terraform gives them."""
    sets = [one.removeprefix("backing.") for one in settings.helm_set.split(",") if one.startswith("backing.")]
    run(
        *("helm", "install", SERVERS, str(ROOT / "charts" / "backing"), f"--namespace={namespace}", "--wait"),
        *("--set=postgres.persistence.enabled=false", *(f"--set={one}" for one in sets)),
    )
    for server in ("postgres", "redis"):
        made = run(
            *("kubectl", "get", "secret", f"{SERVERS}-backing-{server}", f"--namespace={namespace}", "--output=json")
        )
        copy = {**json.loads(made.stdout), "metadata": {"name": f"longhaul-{server}", "namespace": namespace}}
        run("kubectl", "create", "--filename=-", text=json.dumps(copy))


@pytest.fixture
def nodes(values: dict[str, Any]) -> Iterator[None]:
    """This cluster's nodes are of the user pool."""
    ((label, pool),) = values["api"]["nodeSelector"].items()
    run("kubectl", "label", "nodes", "--all", f"{label}={pool}", "--overwrite")
    yield
    run("kubectl", "label", "nodes", "--all", f"{label}-")


@pytest.mark.usefixtures("secrets", "nodes")
def test_they_install_and_a_job_runs(values: dict[str, Any], namespace: str, settings: E2ESettings) -> None:
    # Images are here and in no registry; the other tests' small pods leave them room; the development servers have other
    # addresses and no TLS; and there are no results without Azure's storage.
    here = values | {
        "image": {},
        "keda": {},
        "redis": values["redis"] | {"tls": False, "port": 6379},
        "api": _small(values["api"]) | {"replicas": None},
        "worker": values["worker"] | {"poolDefaults": _small(values["worker"]["poolDefaults"])},
        "resultStore": {},
        "networkPolicy": {"enabled": False},
        "headroom": {},
        "extraObjects": [],
    }
    release = Release(namespace, settings)
    release.install(here, timeout="4m")
    with release.open_api():
        release.wait_done(release.sleep(1, count=2))
    # The file that the vault's URLs of PostgreSQL name.
    load = "import ssl; ssl.create_default_context(cafile='/etc/ssl/certs/ca-certificates.crt')"
    for component in ("api", "controller", "worker-default"):
        release.kubectl("exec", f"deployment/{release.name}-{component}", "--", "python", "-c", load)


def _small(component: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in component.items() if key != "resources"}
