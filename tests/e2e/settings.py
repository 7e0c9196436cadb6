"""What `make e2e` may be told, as environment variables."""

from __future__ import annotations

from pydantic_settings import BaseSettings, SettingsConfigDict


class E2ESettings(BaseSettings):
    """`LONGHAUL_E2E_BUILD`, `_LOAD`, `_HELM_SET`, `_TAG` and `_OLD_TAG`; the cluster is that of `KUBECONFIG`."""

    model_config = SettingsConfigDict(env_prefix="LONGHAUL_E2E_")

    build: str = "docker build --tag {image} --file {dockerfile} ."
    """Builds an image; empty: the images of `tag` are there already."""
    load: str = "kind load docker-image {image}"
    """Hands an image to the nodes; empty: the build did."""
    helm_set: str = ""
    """Values for every install, as for `helm --set`, with commas between them."""
    tag: str = "e2e"
    old_tag: str = ""
    """Tag of an older version's images that are there: rollouts start from it; empty: from that of `tag`."""
