"""The numbers of the fleet and of the catalogue for Prometheus, in a registry of their own.

Labels are bounded: types, ways of asking, statuses, outcomes. Ids of nodes and names of upstreams are data and never here.
"""

from collections import Counter as Count
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from xds_server.fleet.merging import merged_nodes
from xds_server.fleet.nodes import Nodes
from xds_server.fleet.others import Others
from xds_server.fleet.plain import kind
from xds_server.fleet.progress import Ending
from xds_server.xds import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION_CONFIG,
    LISTENER,
    ROUTES,
    RUNTIME,
    SCOPED_ROUTES,
    SECRET,
    Event,
)

_TYPES: Final = (CLUSTER, ENDPOINTS, LISTENER, ROUTES, SCOPED_ROUTES, SECRET, RUNTIME, EXTENSION_CONFIG)
"""All that is served. Their counters are there before they count, so that the first rejection is an increase."""
_ANSWERS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60)
"""Seconds. Envoy waits for endpoints for 15 s."""
_CONVERGENCE: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 300, 1800)


_COUNTERS: Final = (
    ("responses_sent", "Responses sent to xDS clients"),
    ("responses_acknowledged", "Responses that xDS clients acknowledged (ACK)"),
    ("responses_rejected", "Responses that xDS clients rejected (NACK)"),
    ("sent_bytes", "Bytes of the responses sent to xDS clients"),
)
"""In the order of `_OfType`."""
_LATENCY: Final = "acknowledgement_seconds"
_SUMMED: Final = frozenset(f"xds_server_{name}" for name in (*(name for name, _ in _COUNTERS), _LATENCY))
"""Families that worker processes count, each for itself."""

Sums = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]
"""What was counted, by the name of a sample and its labels."""


class _OfType(NamedTuple):
    """What counts for one type."""

    sent: Counter
    acknowledged: Counter
    rejected: Counter
    bytes: Counter
    latency: Histogram


class CatalogueFigures(NamedTuple):
    """What the catalogue has, for `Metrics.catalogue`."""

    revision: int
    """The newest that is served."""
    upstreams: int
    targets: int
    gateways: int
    is_writable: bool
    held_revisions: int
    """Revisions that wait to be confirmed."""


class Metrics:
    """Counts events, and shows the rest as it is when it is asked for."""

    def __init__(self, nodes: Nodes, workers: Others) -> None:
        """`workers`: processes whose nodes are connected as well."""
        self.registry = CollectorRegistry()
        self._elsewhere: dict[str, Sums] = {}
        self._ended: Count[tuple[str, tuple[tuple[str, str], ...]]] = Count()
        self._counters = tuple(
            Counter(f"xds_server_{name}", help, ["type"], registry=self.registry) for name, help in _COUNTERS
        )
        self._latency = Histogram(
            f"xds_server_{_LATENCY}",
            "Time from a response to its acknowledgement",
            ["type"],
            registry=self.registry,
            buckets=_ANSWERS,
        )
        self._by_type: dict[str, _OfType] = {}
        for type_url in _TYPES:
            self._of(type_url)
        self._convergence = Histogram(
            "xds_server_convergence_seconds",
            "Time from the commit of a revision until every client that it concerns has answered or left",
            ["outcome"],
            registry=self.registry,
            buckets=_CONVERGENCE,
        )
        self._catalogue = _Catalogue()
        self.registry.register(self._catalogue)
        self.registry.register(_Connected(nodes, workers))
        ProcessCollector(namespace="xds_server", registry=self.registry)

    def _of(self, type_url: str) -> "_OfType":
        """What counts for one type, looked up once: each response needs it."""
        label = _type(type_url)
        if (known := self._by_type.get(label)) is None:
            sent, acknowledged, rejected, size = (counter.labels(label) for counter in self._counters)
            known = _OfType(sent, acknowledged, rejected, size, self._latency.labels(label))
            self._by_type[label] = known
        return known

    def note(self, event: Event, took: float | None) -> None:
        """Count an event. `took`: seconds, when it is an answer."""
        if event.kind == "sent":
            here = self._of(event.type_url)
            here.sent.inc()
            here.bytes.inc(event.size)
        elif event.kind == "acknowledged":
            here = self._of(event.type_url)
            here.acknowledged.inc()
            if took is not None:
                here.latency.observe(took)
        elif event.kind == "rejected":
            self._of(event.type_url).rejected.inc()

    def converged(self, ending: Ending, seconds: float) -> None:
        """Everyone whom a revision concerns has answered, or left."""
        self._convergence.labels(ending).observe(seconds)

    def catalogue(self, figures: CatalogueFigures) -> None:
        """Show these from now on. Until the first time nothing is shown of the catalogue."""
        self._catalogue.figures = figures

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics, and their content type. `accept`: the request's header, which may ask for OpenMetrics.

        Costs the connected nodes times their types.
        """
        encode, content_type = choose_encoder(accept)
        return encode(_Whole(self.registry, [self._ended, *self._elsewhere.values()])), content_type

    # Worker processes

    def counted(self) -> Sums:
        """What this process counted of what is added up."""
        families = (metric for metric in self.registry.collect() if metric.name in _SUMMED)
        return {_key(each): each.value for family in families for each in family.samples if _is_counted(each.name)}

    def add(self, worker: str, sums: Sums) -> None:
        """Show what another process has counted since it began as well."""
        self._elsewhere[worker] = sums

    def end(self, worker: str) -> None:
        """It has ended: what it counted stays."""
        self._ended.update(self._elsewhere.pop(worker, {}))


def _type(type_url: str) -> str:
    """A type as a label: clients may ask for any text."""
    return kind(type_url) if type_url in _TYPES else "other"


def _key(sample: Sample) -> tuple[str, tuple[tuple[str, str], ...]]:
    return sample.name, tuple(sorted(sample.labels.items()))


def _is_counted(name: str) -> bool:
    return not name.endswith("_created")


class _Whole(Collector):
    """A registry, with what others counted added."""

    def __init__(self, registry: CollectorRegistry, others: Iterable[Sums]) -> None:
        self._registry, self._others = registry, others

    def collect(self) -> Iterator[Metric]:
        more: Count[tuple[str, tuple[tuple[str, str], ...]]] = Count()
        for sums in self._others:
            more.update(sums)
        for metric in self._registry.collect():
            if more and metric.name in _SUMMED:
                samples = [each._replace(value=each.value + more.pop(_key(each), 0.0)) for each in metric.samples]
                of_others = [key for key in more if key[0].startswith(f"{metric.name}_")]
                metric.samples = samples + [
                    Sample(name, dict(labels), more[name, labels]) for name, labels in of_others
                ]
            yield metric


class _Catalogue(Collector):
    """The catalogue's own figures."""

    def __init__(self) -> None:
        self.figures: CatalogueFigures | None = None

    def collect(self) -> Iterator[Metric]:
        if (figures := self.figures) is None:
            return
        yield _gauge("revision", "Newest revision that is served", figures.revision)
        yield _gauge("upstreams", "Upstreams in the catalogue", figures.upstreams)
        yield _gauge("targets", "Targets of all upstreams", figures.targets)
        yield _gauge("gateways", "Gateways in the catalogue", figures.gateways)
        yield _gauge("catalogue_writable", "Whether the catalogue takes changes (1) or not (0)", figures.is_writable)
        yield _gauge("held_revisions", "Revisions that wait to be confirmed", figures.held_revisions)


class _Connected(Collector):
    """Who is connected, and how well they are served."""

    def __init__(self, nodes: Nodes, workers: Others) -> None:
        self._nodes, self._workers = nodes, workers

    def collect(self) -> Iterator[Metric]:
        nodes: Count[tuple[str, ...]] = Count()
        streams: Count[tuple[str, ...]] = Count()
        for way, count in self._nodes.variants():
            nodes[(way,)] += 1
            streams[(way,)] += count
        statuses = Count((_type(type_url), status) for type_url, status in self._nodes.statuses())
        for node in (node for node in merged_nodes(self._workers.nodes()) if node.connected):
            ways = Count(f"{stream.service}-{stream.variant}" for stream in node.streams)
            for way, count in ways.items():
                nodes[(way,)] += 1
                streams[(way,)] += count
            statuses.update((_type(each.type_url), each.status) for each in node.types)
        yield _gauges("nodes", "Connected nodes by the way that they ask", ["variant"], nodes.items())
        yield _gauges("streams", "Open streams by the way that they ask", ["variant"], streams.items())
        yield _gauges(
            "node_types", "Connected nodes by type and its status", ["type", "status"], sorted(statuses.items())
        )


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(f"xds_server_{name}", help, value=float(value))


def _gauges(name: str, help: str, labels: list[str], values: Iterable[tuple[tuple[str, ...], int]]) -> Metric:
    family = GaugeMetricFamily(f"xds_server_{name}", help, labels=labels)
    for label, value in values:
        family.add_metric(list(label), float(value))
    return family
