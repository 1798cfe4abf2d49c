"""What is counted: named figures of one process, for `popgate status` and for Prometheus.

A figure is changed by one thread alone; others read it and may be behind by one. Prometheus gets
them by HTTP on loopback or as a text file for node_exporter; both need the extra
`popgate[prometheus]`, and popgate does without.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tracker.errors import MetricsError
from tracker.settings import MetricsSettings

log = logging.getLogger("popgate")

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from tracker.status import Status

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 3.0)
"""Bounds of a histogram of answers that should take less than a millisecond."""


class Counter:
    """How often something happened, for each value of one label."""

    def __init__(self, help_: str, label: str, values: Iterable[str]) -> None:
        """`values` stand there from the beginning, at 0."""
        self.help = help_
        self.label = label
        self.values = dict.fromkeys(values, 0)

    def add(self, value: str, times: int = 1) -> None:
        """Once more, or so many times."""
        self.values[value] = self.values.get(value, 0) + times

    def snapshot(self) -> dict[str, int]:
        """The counts, by label."""
        return dict(self.values)


class Gauge:
    """A number as it is now."""

    def __init__(self, help_: str) -> None:
        self.help = help_
        self.value = 0.0

    def snapshot(self) -> float:
        """The number."""
        return self.value


class Histogram:
    """How long something took: for each bound in seconds, how often it was not longer."""

    def __init__(self, help_: str, bounds: tuple[float, ...] = SECONDS) -> None:
        self.help = help_
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """It took so long, once."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def cumulated(self) -> list[tuple[float, int]]:
        """Each bound with how often it was not longer than that; the last is infinite."""
        total, found = 0, []
        for bound, count in zip((*self.bounds, math.inf), self.counts, strict=True):
            total += count
            found.append((bound, total))
        return found

    def snapshot(self) -> dict[str, Any]:
        """Count, sum of seconds, and the counts by bound."""
        found = self.cumulated()
        buckets = {f"{bound:g}": count for bound, count in found}
        return {"count": found[-1][1], "sum": round(self.sum, 6), "not_longer_than": buckets}


Figure = Counter | Gauge | Histogram
_F = TypeVar("_F", Counter, Gauge, Histogram)


class Metrics:
    """The figures of a process, by name; a name is as Prometheus wants it, without `popgate_`."""

    def __init__(self) -> None:
        self._figures: dict[str, Figure] = {}

    def counter(self, name: str, help_: str, label: str, values: Iterable[str] = ()) -> Counter:
        """A new counter. Raises KeyError for a name that is taken."""
        return self._added(name, Counter(help_, label, values))

    def gauge(self, name: str, help_: str) -> Gauge:
        """A new number."""
        return self._added(name, Gauge(help_))

    def histogram(self, name: str, help_: str) -> Histogram:
        """A new histogram of seconds."""
        return self._added(name, Histogram(help_))

    def _added(self, name: str, figure: _F) -> _F:
        if name in self._figures:
            raise KeyError(name)
        self._figures[name] = figure
        return figure

    def snapshot(self) -> dict[str, Any]:
        """All figures, fit for JSON."""
        return {name: figure.snapshot() for name, figure in self._figures.items()}

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """All figures, with their names."""
        yield from list(self._figures.items())


class PolicyMetrics:
    """What a policy service counts."""

    def __init__(self, metrics: Metrics) -> None:
        self.answers = metrics.counter(
            "policy_answers",
            "Answers of the policy service: granted (P), sender of another, no grant, unknown.",
            "why",
            ("granted", "other sender", "no grant", "failed"),
        )
        self.closed = metrics.counter(
            "policy_connections_closed",
            "Connections that the policy service ended.",
            "why",
            ("malformed", "full", "slow"),
        )
        self.connections = metrics.gauge("policy_connections", "Connections that are open.")
        self.seconds = metrics.histogram("policy_seconds", "Time from a request to its answer.")


class RunMetrics:
    """What a popgate that follows the log counts. No figure tells of a user or an address.

    Moments are seconds since 1970; 0 stands for never.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.grants = metrics.gauge("grants", "Grants in force: an address and a user each.")
        self.logins = metrics.counter(
            "logins", "Logins in the log, accepted or refused.", "outcome", ("accepted", "refused")
        )
        self.changes = metrics.counter(
            "grant_changes",
            "Grants that came, were renewed, or went.",
            "kind",
            ("added", "renewed", "removed"),
        )
        self.crossings = metrics.counter(
            "limit_crossings",
            "How often a limit of grants was crossed; told again after an hour without.",
            "limit",
            ("max_grants", "max_users_per_address", "max_grants_per_user"),
        )
        self.reloads = metrics.counter(
            "reloads", "Reloads of Postfix for a cidr table.", "outcome", ("done", "failed")
        )
        self.read_until = metrics.gauge(
            "log_read_timestamp_seconds", "When the log was last read to its end."
        )
        self.behind = metrics.gauge("log_sources_behind", "Sources that are being caught up with.")
        self.waiting = metrics.gauge("log_sources_waiting", "Sources that cannot be read now.")
        self.written = metrics.gauge(
            "table_written_timestamp_seconds", "When the table of grants was last written."
        )
        self.failing = metrics.gauge(
            "failing", "1 while a system part fails and is tried again, else 0."
        )

    def see(self, status: Status) -> None:
        """What the process tells of itself."""
        self.grants.value = float(status.grants or 0)
        self.read_until.value = status.read_until.timestamp() if status.read_until else 0.0
        self.behind.value = float(len(status.behind))
        self.waiting.value = float(len(status.waits))


class Publication:
    """The figures where Prometheus finds them."""

    def __init__(
        self, settings: MetricsSettings, metrics: Metrics, *, policy: bool = False
    ) -> None:
        """`policy`: of a `popgate policy` that runs by itself. Raises MetricsError when the library
        is missing or the port is taken."""
        self._textfile = settings.policy_textfile if policy else settings.textfile
        self._named = "metrics.policy_" if policy else "metrics."
        listen = settings.policy_listen if policy else settings.listen
        self._registry: CollectorRegistry | None = None
        self._server: Any = None
        if not listen and not self._textfile:
            return
        try:
            from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415
        except ImportError as error:
            raise MetricsError(
                "metrics: prometheus-client is not installed: pip install 'popgate[prometheus]', "
                "or empty metrics.listen and metrics.textfile"
            ) from error
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(metrics))
        if listen:
            host, _, port = listen.rpartition(":")
            try:
                self._server, _ = start_http_server(
                    int(port), host.strip("[]"), registry=self._registry
                )
            except OSError as error:
                raise MetricsError(f"{self._named}listen = {listen}: {error.strerror}") from error

    def write(self) -> None:
        """Write the text file, where one is asked for. Raises MetricsError."""
        if not self._textfile or self._registry is None:
            return
        from prometheus_client import write_to_textfile  # noqa: PLC0415

        try:
            write_to_textfile(self._textfile, self._registry)
            Path(self._textfile).chmod(0o644)
        except OSError as error:
            where = f"{self._named}textfile = {self._textfile}"
            raise MetricsError(f"{where}: {error.strerror}") from error

    def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def published(settings: MetricsSettings, metrics: Metrics, *, policy: bool = False) -> Publication:
    """The figures where Prometheus finds them, or nowhere: what is wrong there is said, and keeps
    nobody from sending."""
    try:
        return Publication(settings, metrics, policy=policy)
    except MetricsError as error:
        log.error("event=failed error=%r action=%r", str(error), "going on without")
        return Publication(MetricsSettings(), metrics)


class _Collector:
    """The figures, as prometheus_client asks for them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import (  # noqa: PLC0415
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        for name, figure in self._metrics.figures():
            whole = f"popgate_{name}"
            if isinstance(figure, Counter):
                counter = CounterMetricFamily(whole, figure.help, labels=[figure.label])
                for value, count in figure.snapshot().items():
                    counter.add_metric([value], count)
                yield counter
            elif isinstance(figure, Gauge):
                yield GaugeMetricFamily(whole, figure.help, value=figure.value)
            else:
                buckets = [
                    ("+Inf" if math.isinf(bound) else f"{bound:g}", count)
                    for bound, count in figure.cumulated()
                ]
                yield HistogramMetricFamily(
                    whole, figure.help, buckets=buckets, sum_value=figure.sum
                )
