"""YAML files that people bring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from longhaul.errors import ConfigurationError


def read_mapping(path: Path) -> dict[str, Any]:
    """A file of names and values. Raises ConfigurationError where it can't be read or is something else."""
    # Here, because most commands read no YAML.
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror or error}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no YAML: {' '.join(str(error).split())}.") from None
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(name, str) for name in document):
        raise ConfigurationError(f"{path} must hold names and values, such as `name: value` on each line.")
    return document
