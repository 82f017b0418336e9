"""What an upstream says and gRPC clients cannot do, and what they do instead. Only what is set is warned of."""

from collections.abc import Iterator

from xds_server.upstreams.model import Limits, PassiveHealthCheck, Retries, Upstream
from xds_server.upstreams.model.base import Definition
from xds_server.upstreams.model.upstream import HASHING
from xds_server.upstreams.translate.endpoints import envoy_resolves
from xds_server.upstreams.translate.proxyless_cluster import is_followed
from xds_server.upstreams.translate.proxyless_routes import (
    GRPC_RETRY_CONDITIONS,
    MOST_RETRIES,
    TIMEOUT_MARGIN,
    TRANSPARENT_RETRY_CONDITIONS,
    hash_keys,
    is_hashed,
)

_ALGORITHMS = {
    "least-connections": "round-robin (by weight)",
    "random": "round-robin",
    "maglev": "ring-hash",
}
_NOT_OF_GRPC = {
    "consecutive_gateway_errors": "gRPC does not tell them from other failures: not counted",
    "consecutive_local_errors": "gRPC goes on to another target by itself when one cannot be connected to: not counted",
    "error_statuses": "for gRPC every RPC has failed that ended with any status but OK",
    "max_ejection_time_jitter": "gRPC has none: targets that were ejected together return together",
    "uneject_on_passed_probe": "gRPC clients do not probe: targets return when their time is over",
}
"""Fields about passive checks, and what happens instead."""
_LOCALITIES = {
    "weighted": "gRPC clients leave a locality its whole share until its last target is down",
    "zone-aware": "gRPC has no zone-aware routing: localities do not matter",
    "nearest": "gRPC clients leave a zone or region only when its last target is down",
}


def proxyless_warnings(upstream: Upstream) -> Iterator[str]:
    """Each as ``field: what happens instead``, in the order of the model's fields."""
    if wildcards := [name for name in upstream.hostnames if name.startswith("*.")]:
        yield f"hostnames: gRPC clients ask for exact names: not served as {', '.join(wildcards)}"
    if (served := _ALGORITHMS.get(upstream.algorithm)) is not None:
        yield f"algorithm: gRPC has no {upstream.algorithm}: served as {served}"
    if upstream.failover == "proportional":
        yield "failover: gRPC clients use the next priority only when every target before it is down: served as all-down"
    if upstream.localities is not None:
        yield f"localities.balance: {_LOCALITIES[upstream.localities.balance]}"
    if upstream.on_all_unhealthy == "send-all":
        yield "on_all_unhealthy: gRPC has no panic: RPCs fail as UNAVAILABLE when no target can be used"
    yield from _health_checks(upstream)
    yield from _limits(upstream.limits)
    if upstream.slow_start is not None:
        yield "slow_start: gRPC has none: new targets get their whole share at once"
    if upstream.algorithm in HASHING:
        yield from _hashing(upstream)
    if upstream.hash_balance_factor is not None:
        yield "hash_balance_factor: gRPC has no bounded load: a target may get any share"
    yield from _requests(upstream)
    if envoy_resolves(upstream) and _is_set(upstream.dns, "family"):
        yield "dns.family: a gRPC client that resolves the name itself uses all of its addresses"
    if upstream.envoy:
        yield "envoy: these fields are for Envoys and not applied to gRPC clients"


def _health_checks(upstream: Upstream) -> Iterator[str]:
    active, passive = upstream.health_checks.active, upstream.health_checks.passive
    if active is not None:
        yield "health_checks.active: gRPC clients do not probe: a target counts as up while it can be connected to"
    if passive is None:
        return
    if passive.max_ejection_percent == 0:
        yield "health_checks.passive: gRPC clients always eject one target: no passive checks with max_ejection_percent: 0"
        return
    if not is_followed(passive):
        yield "health_checks.passive: gRPC counts shares of failed RPCs only: nobody is ejected"
    elif passive.consecutive_errors:
        yield f"health_checks.passive: gRPC counts shares, not errors in a row: {_ejected(passive)}"
    elif passive.failure_percentage is not None:
        yield f"health_checks.passive.failure_percentage: {_ejected(passive)}"
    for field, instead in _NOT_OF_GRPC.items():
        if _is_set(passive, field):
            yield f"health_checks.passive.{field}: {instead}"


def _ejected(passive: PassiveHealthCheck) -> str:
    share = passive.failure_percentage
    percent, least = (85, passive.consecutive_errors) if share is None else (share.threshold, share.request_volume)
    failed = "ended with any status but OK"
    return f"a target is ejected when more than {percent} % of at least {least} RPCs in an interval {failed}"


def _limits(limits: Limits) -> Iterator[str]:
    for field in Limits.model_fields:
        if field != "max_requests" and getattr(limits, field) is not None:
            yield f"limits.{field}: gRPC clients know max_requests only: not limited"


def _hashing(upstream: Upstream) -> Iterator[str]:
    keys = hash_keys(upstream)
    for index, key in enumerate(keys):
        if key.source_ip:
            where = f"hash_on[{index}].source_ip" if upstream.hash_on else "hash_on"
            yield f"{where}: a gRPC client does not see its own address: each channel is a source of its own"
        elif not is_hashed(key):
            kind = "cookies" if key.cookie else "query parameters" if key.query_parameter else "binary metadata"
            yield f"hash_on[{index}]: gRPC does not hash {kind}: left out"
    if not any(map(is_hashed, keys)):
        yield "hash_on: nothing is left to hash: each RPC goes to a target at random"


def _requests(upstream: Upstream) -> Iterator[str]:
    if _is_set(upstream, "host_header"):
        yield "host_header: targets see the authority that the gRPC client chooses: not rewritten"
    if _is_set(upstream, "connect_timeout"):
        yield "connect_timeout: gRPC clients have their own: not applied"
    if upstream.timeout:
        yield f"timeout: gRPC clients end RPCs up to {TIMEOUT_MARGIN.seconds} s later than this"
    if upstream.idle_timeout is not None:
        yield "idle_timeout: gRPC clients let RPCs stand still: only timeout and their own deadlines end them"
    if _is_set(upstream, "keepalive"):
        yield "keepalive: connections of gRPC clients are kept as their channel says: not applied"
    if upstream.retries is not None:
        yield from _retries(upstream.retries)


def _retries(retries: Retries) -> Iterator[str]:
    known = (*GRPC_RETRY_CONDITIONS, *TRANSPARENT_RETRY_CONDITIONS)
    if lost := [condition for condition in dict.fromkeys(retries.on) if condition not in known]:
        yield f"retries.on: gRPC retries by its own status codes: not retried on {', '.join(lost)} (consider unavailable)"
    if retries.attempts > MOST_RETRIES:
        yield f"retries.attempts: gRPC makes {MOST_RETRIES} retries at most"
    if retries.statuses:
        yield "retries.statuses: gRPC retries by its own status codes: HTTP statuses are left out"
    if retries.per_try_timeout is not None:
        yield "retries.per_try_timeout: gRPC has no time for each try: not applied"


def _is_set(definition: Definition, field: str) -> bool:
    return bool(getattr(definition, field) != type(definition).model_fields[field].default)
