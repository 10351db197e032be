"""What a Prometheus server reads at /metrics: of all processes of the switch together.

The processes keep their figures in files that all of them can add up (PROMETHEUS_MULTIPROC_DIR);
whoever is asked answers for all.
"""

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from popolni.core.channel import Channel
from popolni.switch.settings import METRICS_FOLDER

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)

_registry = CollectorRegistry()

REQUESTS = Counter(
    "popolni_switch_requests", "Requests by channel, what they ask and how they end",
    ["channel", "agent", "command", "outcome"], registry=_registry,
)  # fmt: skip
SECONDS = Histogram(
    "popolni_switch_seconds", "From a request to its answer",
    ["channel", "command"], buckets=_SECONDS, registry=_registry,
)  # fmt: skip
BATCH = Histogram(
    "popolni_switch_batch", "Top-ups in one post", buckets=_SIZES, registry=_registry
)  # fmt: skip
WAITING = Gauge(
    "popolni_switch_waiting", "Top-ups that wait", multiprocess_mode="livesum", registry=_registry
)
NOT_ADMITTED = Counter(
    "popolni_switch_not_admitted", "Requests of nobody", ["channel"], registry=_registry
)


class Counted:
    """Counts requests; the figures' own look-ups by label are slower than the figures."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, str, str], Counter] = {}
        self._seconds: dict[tuple[str, str], Histogram] = {}

    def request(
        self, channel: Channel, agent: str, command: str, outcome: str, seconds: float
    ) -> None:
        """One request that was answered. Agents are known ones, so labels stay few."""
        key = (channel.value, agent, command, outcome)
        counter = self._requests.get(key)
        if counter is None:
            counter = self._requests[key] = REQUESTS.labels(*key)
        counter.inc()
        histogram = self._seconds.get(key[::2])
        if histogram is None:
            histogram = self._seconds[key[::2]] = SECONDS.labels(channel.value, command)
        histogram.observe(seconds)


def exposition() -> bytes:
    """All figures, as text."""
    if not os.environ.get(METRICS_FOLDER):
        return generate_latest(_registry)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # it has none
    return generate_latest(registry)


def gone() -> None:
    """This process ends: what it had waiting no longer counts."""
    if os.environ.get(METRICS_FOLDER):
        multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]  # it has none
