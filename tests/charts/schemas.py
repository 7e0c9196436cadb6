"""Kubernetes' own schemas, and those of the other kinds that the charts use."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate  # type: ignore[import-untyped]  # it has no types, and only its schemas are used

KUBERNETES = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / "v1.34.0-local-strict"
OTHERS = Path(__file__).parent / "schemas"


def problems_of(one: dict[str, Any]) -> list[str]:
    """What is wrong with an object, one line each; unknown fields are."""
    validator = _validator(path_of(one["kind"], one["apiVersion"]))
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in validator.iter_errors(one)]


def path_of(kind: str, api_version: str) -> Path:
    """The file with a kind's schema. Raises AssertionError where there is none."""
    group = re.sub(r"\.[^/]*", "", api_version).replace("/", "-")
    name = f"{kind.lower()}-{group}.json"
    found = [folder / name for folder in (OTHERS, KUBERNETES) if (folder / name).exists()]
    assert found, f"There is no schema {name}."
    return found[0]


def read_alone(path: Path) -> str:
    """A schema's text without identifiers and dialects, which some readers would fetch."""
    schema = json.loads(path.read_text())
    kept = {key: value for key, value in schema.items() if key not in ("$id", "$schema")}
    return json.dumps(kept).replace('"/api/_definitions.json#', '"_definitions.json#')


@functools.cache
def _validator(path: Path) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(json.loads(path.read_text()), registry=_registry())


@functools.cache
def _registry() -> jsonschema_rs.Registry:
    definitions = json.loads((KUBERNETES / "_definitions.json").read_text())
    return jsonschema_rs.Registry([(definitions["$id"], definitions)])
