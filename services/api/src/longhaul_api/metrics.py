"""The API's figures for Prometheus. Each app has a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """What is counted, and `text()` for the scrape."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._requests = Histogram(
            "longhaul_api_request_seconds",
            "From a request to the start of its answer",
            ["route", "method", "status"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        # Looking a child up by its labels costs more than observing it.
        self._by_labels: dict[tuple[str, str, int], Histogram] = {}
        submits = Counter("longhaul_api_submits", "Jobs that were asked for", ["outcome"], registry=self._registry)
        self.accepted = submits.labels("accepted")
        self.replayed = submits.labels("replayed")
        rings = Counter("longhaul_api_rings", "Doorbells", ["outcome"], registry=self._registry)
        self._rung, self._dropped = rings.labels("rung"), rings.labels("dropped")
        self.delivered = Counter("longhaul_api_events_delivered", "Events sent to streams", registry=self._registry)
        self._ledger = Gauge(
            "longhaul_api_ledger",
            "Connections to the ledger, and who waits for one",
            ["pool", "figure"],
            registry=self._registry,
        )

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """One request was answered."""
        labels = (route, method, status)
        child = self._by_labels.get(labels)
        if child is None:
            child = self._by_labels[labels] = self._requests.labels(route, method, str(status))
        child.observe(seconds)

    def rings(self, rung: int, dropped: int) -> None:
        """Doorbells were pushed, or could not be."""
        if rung:
            self._rung.inc(rung)
        if dropped:
            self._dropped.inc(dropped)

    def watch(self, name: str, help: str, read: Callable[[], float]) -> None:
        """A gauge that is read at the scrape."""
        Gauge(name, help, registry=self._registry).set_function(read)

    def watch_pool(self, pool: str, read: Callable[[], Mapping[str, int]]) -> None:
        """A pool's figures, read at the scrape."""
        for figure in read():
            self._ledger.labels(pool, figure).set_function(partial(_figure, read, figure))

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)


def _figure(read: Callable[[], Mapping[str, int]], figure: str) -> float:
    return read()[figure]
