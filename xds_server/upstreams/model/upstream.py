"""The upstream: everything that an operator says about one virtual host name, and what contradicts itself in it."""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, StrictInt, TypeAdapter, field_serializer, field_validator, model_validator

from xds_server.upstreams.model.base import Definition, Location, Problem, reject
from xds_server.upstreams.model.dns import Dns, unresolvable
from xds_server.upstreams.model.health import HealthChecks
from xds_server.upstreams.model.health_rules import health_contradictions
from xds_server.upstreams.model.keepalive import Keepalive
from xds_server.upstreams.model.localities import Localities, locality_problems
from xds_server.upstreams.model.nodes import NodeSelector
from xds_server.upstreams.model.raw import RawCluster, raw_cluster
from xds_server.upstreams.model.scalars import Duration, Hostname, Labels, Name, OneLine, PositiveDuration, Text
from xds_server.upstreams.model.target import Target
from xds_server.upstreams.model.tls import Tls, tls_contradictions
from xds_server.upstreams.model.traffic import HASH_KINDS, HashKey, Limits, Retries, SlowStart
from xds_server.upstreams.model.traffic_rules import (
    limits_contradictions,
    protocol_contradictions,
    retries_contradictions,
)

Algorithm = Literal["round-robin", "weighted-round-robin", "least-connections", "random", "ring-hash", "maglev"]
HASHING = ("ring-hash", "maglev")
EQUAL_SHARES = ("round-robin", "random")
"""Those that no weight changes."""
ENVOY_FIELDS_REFUSED = ("name", "type", "cluster_type", "eds_cluster_config", "load_assignment")
"""Fields of Envoy's Cluster that `envoy:` may not carry: they tie the cluster to its name and its endpoints."""
_REFUSED_SPELLINGS = [
    spelling
    for name in ENVOY_FIELDS_REFUSED
    for spelling in dict.fromkeys((name, re.sub("_(.)", lambda letter: letter[1].upper(), name)))
]


_FIELDS = TypeAdapter(dict[str, JsonValue])


class Upstream(Definition):
    """A virtual host name and the targets that answer for it.

    Envoy: `cluster.v3.Cluster` and `ClusterLoadAssignment`.
    """

    name: Name
    """Envoy's cluster name and a virtual host name, unique: 1 to 253 of a-z 0-9 . _ -. Required.
    Envoy: `Cluster.name`."""
    description: Text = ""
    """For people. Never sent to Envoy."""
    hostnames: tuple[Hostname, ...] = ()
    """Further virtual host names: DNS names or `*.suffix`, compared in lower case, for Envoys that take our listeners.
    Default: none. Envoy: `VirtualHost.domains`."""
    labels: Labels = Field(default_factory=dict)
    """For people and selection. Never sent to Envoy."""
    algorithm: Algorithm = "round-robin"
    """How a target is chosen. Of those that hash, maglev leaves more keys where they are when targets come and go.
    Default: round-robin (equal shares). Envoy: `Cluster.load_balancing_policy`."""
    targets: tuple[Target, ...] = ()
    """The servers. None is legal and answers 503. With active checks, targets that are all replaced in one edit stay until
    the new ones can have been probed (for the probe's timeout and 1 s more, 10 s at most). Default: none.
    Envoy: `ClusterLoadAssignment.endpoints`."""
    failover: Literal["all-down", "proportional"] = "all-down"
    """When the next priority takes over: once every target before it is down, or share by share as targets fail.
    Default: all-down. Envoy: `ClusterLoadAssignment.policy.overprovisioning_factor`."""
    localities: Localities | None = None
    """What the localities of targets mean for their shares. Default: nothing."""
    on_all_unhealthy: Literal["fail", "send-all"] | None = None
    """When no target is healthy: fail (503), or send-all (requests go to all that are not taken out by hand).
    Default: fail; send-all when there are only passive checks. Envoy: `common_lb_config.healthy_panic_threshold`."""
    health_checks: HealthChecks = HealthChecks()
    """Probes and ejection. Default: none."""
    limits: Limits = Limits()
    """Circuit breakers of each Envoy. Default: unlimited. Envoy: `Cluster.circuit_breakers`."""
    slow_start: SlowStart | None = None
    """Growing share of new and recovered targets; not for random, ring-hash and maglev. Default: none.
    Envoy: `slow_start_config`."""
    hash_on: tuple[HashKey, ...] = ()
    """What ring-hash and maglev hash; other algorithms ignore it, so that switching is one edit. Later entries are used
    when those before them are absent. Default: source IP.
    Envoy: `consistent_hashing_lb_config.hash_policy`."""
    hash_balance_factor: Annotated[StrictInt, Field(ge=100, le=4_294_967_295)] | None = None
    """Bounded load for ring-hash and maglev: a target that has more requests under way than this percentage of the average
    is passed over for the next one of the hash, so 120 allows 20 % more. Requests that wait for a connection do not count yet.
    From 100. Default: no bound.
    Envoy: `consistent_hashing_lb_config.hash_balance_factor`."""
    protocol: Literal["http1", "http2", "auto", "tcp"] = "http1"
    """What targets speak; auto (ALPN) needs `tls`. Default: http1. Envoy: `HttpProtocolOptions`."""
    host_header: OneLine = "keep"
    """Host header that targets see: keep (the client's), target (the target's own name), or any text. Default: keep.
    Envoy: `RouteAction.auto_host_rewrite` with `Endpoint.hostname`."""
    tls: Tls | None = None
    """TLS to the targets. Default: none. Envoy: `Cluster.transport_socket`."""
    proxy_protocol: Literal["v1", "v2"] | None = None
    """The PROXY protocol, by which targets learn the client's address, at the beginning of each connection: those of one
    client are then not used for another. Probes begin with it too, unless they have TLS of their own or go in plaintext where
    the traffic does not. Default: none.
    Envoy: `envoy.transport_sockets.upstream_proxy_protocol`."""
    connect_timeout: PositiveDuration = timedelta(seconds=5)
    """Time to open a connection. Default: 5s. Envoy: `Cluster.connect_timeout`."""
    timeout: Duration = timedelta(0)
    """Time for a request and its whole answer, uploading included; 0s is none. A WebSocket is one request. On a static
    listener: time for each try. Default: 0s. Envoy: `RouteAction.timeout` and `max_stream_duration`."""
    idle_timeout: Duration | None = None
    """How long a request and its answer may stand still, WebSockets too; 0s is for ever. On a static listener always 5m.
    Default: 5m, or `timeout` where that is longer. Envoy: `RouteAction.idle_timeout`."""
    keepalive: Keepalive = Keepalive()
    """Connections to targets between requests. Default: open until idle for 1h."""
    retries: Retries | None = None
    """Retries of failed requests. Default: none. Envoy: `RetryPolicy`."""
    resolve: Literal["control-plane", "envoy"] = "control-plane"
    """Who resolves targets given by host name: the control plane (into EDS) or each Envoy (a DNS cluster: every edit of the
    targets rebuilds it, a name that does not exist or has no addresses any more loses those that it had, and a static
    listener sends targets their own name as the Host, whatever `host_header` says). Default: control-plane.
    Envoy: `Cluster.type` EDS, or `envoy.clusters.dns`."""
    dns: Dns = Dns()
    """How host names are resolved. Default: IPv4 before IPv6, by their TTL."""
    nodes: NodeSelector = NodeSelector()
    """Which Envoys receive this upstream. Default: all."""
    envoy: dict[str, JsonValue] | RawCluster = Field(
        default_factory=dict, json_schema_extra={"propertyNames": {"not": {"enum": [*_REFUSED_SPELLINGS]}}}
    )
    """Any field of Envoy's Cluster as proto JSON, over what was translated: lists are replaced whole, false and 0 are
    honoured, null takes a field of ours away. Python callers may give an `envoy_data_plane` Cluster. Refused: name, type,
    cluster_type, eds_cluster_config, load_assignment, another common_lb_config.healthy_panic_threshold than that of
    `on_all_unhealthy`, and fields that have no effect beside a newer one that is there (lb_policy, http2_protocol_options,
    and with `resolve: envoy` those about DNS). Secrets that are written out are refused too: name a file of Envoy's machine
    (`filename`) or a variable (`environment_variable`) instead. Default: nothing. Envoy: `Cluster`."""

    @field_validator("envoy", mode="plain", json_schema_input_type=dict[str, JsonValue])
    @classmethod
    def _take_message(cls, value: Any) -> dict[str, JsonValue] | RawCluster:
        value = raw_cluster(value)
        # By hand, because pydantic's errors about a union name its members as if they were fields.
        return value if isinstance(value, RawCluster) else _FIELDS.validate_python(value)

    @field_serializer("envoy")
    def _show_override(self, value: dict[str, JsonValue] | RawCluster) -> JsonValue:
        return {**value.to_json()} if isinstance(value, RawCluster) else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        reject(contradictions(self))
        return self

    @property
    def virtual_hosts(self) -> tuple[str, ...]:
        """Every host name that requests for this upstream may carry: its name first, then `hostnames`."""
        return (self.name, *self.hostnames)

    @property
    def is_nearest_first(self) -> bool:
        """Whether its targets' priorities depend on where those are that ask."""
        return self.localities is not None and self.localities.balance == "nearest"

    @property
    def sends_to_all_when_unhealthy(self) -> bool:
        """`on_all_unhealthy` with its default: send-all only where passive checks stand alone."""
        if self.on_all_unhealthy is not None:
            return self.on_all_unhealthy == "send-all"
        return self.health_checks.passive is not None and self.health_checks.active is None


def contradictions(upstream: Upstream) -> Iterator[Problem]:
    """Every pair of fields of an upstream that cannot both be meant."""
    yield from _targets(upstream)
    yield from _algorithm(upstream)
    if upstream.localities is not None:
        yield from locality_problems(
            upstream.localities,
            upstream.targets,
            algorithm=upstream.algorithm,
            hashes=upstream.algorithm in HASHING,
            failover=upstream.failover,
            resolve=upstream.resolve,
        )
    yield from _protocol(upstream)
    yield from unresolvable(upstream.dns, upstream.resolve, upstream.targets)
    yield from health_contradictions(upstream.health_checks, upstream.targets, upstream.protocol, upstream.tls)
    if len(set(upstream.virtual_hosts)) < len(upstream.virtual_hosts):
        for index, hostname in enumerate(upstream.hostnames):
            if hostname in upstream.virtual_hosts[: index + 1]:
                earlier = upstream.virtual_hosts.index(hostname)
                about = ("hostnames", earlier - 1) if earlier else ("name",)
                why = (
                    "host names are compared in lower case" if earlier else "the upstream's name is a host name already"
                )
                yield Problem(("hostnames", index), f"{hostname!r} is named twice: {why}", (about,))
    if isinstance(upstream.envoy, dict):
        for key in upstream.envoy:
            snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in key)
            if snake in ENVOY_FIELDS_REFUSED:
                yield Problem(
                    ("envoy", key), f"{key!r} may not be set here: it ties the cluster to its name and targets"
                )


def _targets(upstream: Upstream) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, target in enumerate(upstream.targets):
        if (before := first.setdefault(target.key, index)) != index:
            yield Problem(("targets", index), f"target {target.key} is listed twice", (("targets", before),))
        if target.drain_until is not None and target.state != "draining":
            message = f"drain_until has no meaning with state: {target.state}: write state: draining, or leave it out"
            yield Problem(("targets", index, "drain_until"), message, (("targets", index, "state"),))
    yield from weight_contradictions(upstream.algorithm, [target.weight for target in upstream.targets])


def weight_contradictions(algorithm: Algorithm, weights: Sequence[int]) -> Iterator[Problem]:
    """Every problem of an upstream that the weights of its targets can make."""
    differing = _unequal(weights) if algorithm in EQUAL_SHARES else None
    if differing and algorithm == "round-robin":
        message = "round-robin shares equally, but the weights differ: use algorithm: weighted-round-robin"
        yield Problem(differing[1], message, (differing[0], ("algorithm",)))
    elif differing:
        message = "random ignores weights, but the weights differ: use weighted-round-robin"
        yield Problem(("algorithm",), message, differing)


def _unequal(weights: Sequence[int]) -> tuple[Location, Location] | None:
    """Where two weights differ: the first, and the first unlike it. Weight 0 is no share, so it is not compared."""
    first: tuple[int, int] | None = None
    for index, weight in enumerate(weights):
        if weight and first is None:
            first = (index, weight)
        elif weight and first and weight != first[1]:
            return ("targets", first[0], "weight"), ("targets", index, "weight")
    return None


def _algorithm(upstream: Upstream) -> Iterator[Problem]:
    algorithm = upstream.algorithm
    if upstream.slow_start and algorithm in ("random", *HASHING):
        yield Problem(("slow_start",), f"Envoy has no slow start for {algorithm}", (("algorithm",),))
    if upstream.hash_balance_factor is not None and algorithm not in HASHING:
        message = f"hash_balance_factor is for ring-hash and maglev, not {algorithm}"
        yield Problem(("hash_balance_factor",), message, (("algorithm",),))
    for index, key in enumerate(upstream.hash_on):
        if sum(bool(getattr(key, kind)) for kind in HASH_KINDS) != 1:
            message = f"give exactly one of {', '.join(HASH_KINDS)}"
            yield Problem(("hash_on", index), message, tuple(("hash_on", index, kind) for kind in HASH_KINDS))
        if key.ttl is not None and not key.cookie:
            yield Problem(("hash_on", index, "ttl"), "ttl belongs to a cookie", (("hash_on", index, "cookie"),))


def _protocol(upstream: Upstream) -> Iterator[Problem]:
    protocol, tls = upstream.protocol, upstream.tls
    if protocol == "auto" and tls is None:
        message = "auto chooses by ALPN, which needs tls: use http1 or http2, or add tls"
        yield Problem(("protocol",), message, (("tls",),))
    if tls is not None:
        yield from tls_contradictions(tls, upstream.targets)
    yield from limits_contradictions(upstream.limits)
    if upstream.retries is not None:
        yield from retries_contradictions(upstream.retries, upstream.timeout)
    yield from protocol_contradictions(upstream)
    if protocol == "tcp":
        http_only = {
            "retries": upstream.retries,
            "timeout": upstream.timeout,
            "hostnames": upstream.hostnames,
            "host_header": upstream.host_header != "keep",
        }
        for field, value in http_only.items():
            if value:
                yield Problem((field,), f"{field} is about HTTP requests, but protocol is tcp", (("protocol",),))
        for index, key in enumerate(upstream.hash_on):
            if not key.source_ip:
                about = (("protocol",), ("hash_on", index, "source_ip"))
                yield Problem(("hash_on", index), "plain TCP can be hashed by source_ip only", about)
