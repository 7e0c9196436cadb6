"""Reading what people wrote into files: durations, quantities; and saying what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import ceil
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from longhaul.errors import ConfigurationError
from longhaul_cli.times import seconds_in

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*(m|k|K|M|G|T|Ki|Mi|Gi|Ti)?")
_SCALES = {
    "m": 1e-3,
    "": 1,
    "k": 1e3,
    "K": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}

Model = TypeVar("Model", bound=BaseModel)


class Described(BaseModel):
    """What a file may say. Unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def parse(model: type[Model], document: Mapping[str, Any], *, source: str, below: str = "") -> Model:
    """Raise ConfigurationError with a sentence for each thing that is wrong, and its place below `below`."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = [_sentence(dict(problem), below) for problem in error.errors()]
        raise ConfigurationError(f"{source}: {' '.join(dict.fromkeys(problems))}") from None


def _sentence(problem: Mapping[str, Any], below: str) -> str:
    place = ".".join(str(part) for part in (below, *problem["loc"]) if part != "")
    if problem["type"] == "missing":
        return f"{place} is missing."
    if problem["type"] == "extra_forbidden":
        return f"{place} is not known here: take it out, or look for a slip."
    message = str(problem["msg"]).removeprefix("Value error, ")
    shown = "" if isinstance(problem["input"], (Mapping, list)) else f" is {problem['input']!r}"
    said = f"{place}{shown}: {message[0].lower()}{message[1:]}."
    return said.lstrip(": ")


def seconds_of(value: object) -> float:
    """Seconds, from a number or a text such as `90s`, `15m`, `1h30m`. Raises ValueError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return seconds_in(str(value))


def _quantity(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and (match := _QUANTITY.fullmatch(value.strip())):
        return float(match[1]) * _SCALES[match[2] or ""]
    raise ValueError("write a quantity such as 500m or 2 for CPU, 512Mi or 4Gi for memory")


def _millicores(value: object) -> int:
    return ceil(round(_quantity(value) * 1000, 6))


def _mib(value: object) -> int:
    return ceil(round(_quantity(value) / 2**20, 6))


Seconds = Annotated[float, BeforeValidator(seconds_of)]
Millicores = Annotated[int, BeforeValidator(_millicores)]
"""From a quantity of CPU, as Kubernetes writes it."""
Mib = Annotated[int, BeforeValidator(_mib)]
"""From a quantity of memory, as Kubernetes writes it."""
