"""`reference/metrics.md`: the figures for Prometheus, from the objects that hold them."""

from __future__ import annotations

from collections.abc import Iterable

from docs.generator.markdown import code, codes, table
from prometheus_client.metrics import MetricWrapperBase

import longhaul_controller.metrics
import longhaul_worker.metrics
from longhaul_api.metrics import Metrics

_PAGE = """# Metrics

Each process answers `GET /metrics` in Prometheus' text format, with the usual `process_*` and `python_*` figures beside
these. Times are in seconds.

## The API

`longhaul-api`, on its own port.

{api}

## A worker

`longhaul-worker`, on `LONGHAUL_PROBE_PORT`.

{worker}

## The controller

`longhaul-controller`, on `LONGHAUL_CONTROLLER_PROBE_PORT`. The replica that leads has the figures.

{controller}"""


def page(api: Metrics) -> str:
    """The page's Markdown, without its head. `api` are the figures of an app that `create_app` made."""
    return _PAGE.format(
        api=_table(api._registry._collector_to_names),  # noqa: SLF001 - prometheus_client has no public list
        worker=_table(vars(longhaul_worker.metrics).values()),
        controller=_table(vars(longhaul_controller.metrics).values()),
    )


def _table(found: Iterable[object]) -> str:
    rows = []
    for one in found:
        if isinstance(one, MetricWrapperBase):
            family = next(iter(one.describe()))
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = codes(one._labelnames)  # noqa: SLF001 - it tells its labels to nobody before it has a value
            rows.append((code(name), family.type, labels, family.documentation))
    return table(("name", "type", "labels", "meaning"), rows)
