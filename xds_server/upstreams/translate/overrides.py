"""The `envoy:` field: any field of Envoy's Cluster, laid over what was translated.

Messages are merged field by field, and so is an `Any` that holds the type that is there already. Lists are replaced
whole, maps entry by entry. `false` and `0` count, `null` takes a field of ours away, and a member of a oneof takes the
place of another. Fields newer than xds-protos are kept as the bytes that envoy-data-plane makes of them.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Any, Final

from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf.message import DecodeError, Message

from xds_server.upstreams.model import Problem, RawCluster
from xds_server.upstreams.model.base import Location
from xds_server.upstreams.model.upstream import ENVOY_FIELDS_REFUSED
from xds_server.upstreams.translate.json_writer import JsonWriter, is_any, is_map, is_plain, map_value
from xds_server.upstreams.translate.message_types import message_type
from xds_server.upstreams.translate.sensitive import written_out
from xds_server.upstreams.translate.written import written

_HERE: Final = ("envoy",)
_SUPERSEDED: Final[Mapping[str, tuple[Location, ...]]] = {
    "load_balancing_policy": (
        ("lb_policy",),
        ("lb_subset_config",),
        ("ring_hash_lb_config",),
        ("maglev_lb_config",),
        ("least_request_lb_config",),
        ("round_robin_lb_config",),
        ("common_lb_config", "zone_aware_lb_config"),
        ("common_lb_config", "locality_weighted_lb_config"),
        ("common_lb_config", "consistent_hashing_lb_config"),
    ),
    "typed_extension_protocol_options": (
        ("upstream_http_protocol_options",),
        ("common_http_protocol_options",),
        ("http_protocol_options",),
        ("http2_protocol_options",),
    ),
    "cluster_type": (
        ("dns_refresh_rate",),
        ("dns_failure_refresh_rate",),
        ("dns_jitter",),
        ("respect_dns_ttl",),
        ("dns_lookup_family",),
        ("dns_resolvers",),
        ("dns_resolution_config",),
        ("typed_dns_resolver_config",),
        ("use_tcp_for_dns_lookups",),
    ),
}
"""Fields that Envoy ignores or refuses beside a newer one that a translated Cluster has."""
_INSTEAD: Final[Mapping[str, str]] = {
    "load_balancing_policy": "set the upstream's algorithm, or load_balancing_policy here",
    "typed_extension_protocol_options": "set the upstream's protocol, or typed_extension_protocol_options here",
    "cluster_type": "set the upstream's dns",
}
_RESTS_ON: Final[Mapping[str, tuple[Location, ...]]] = {
    "typed_extension_protocol_options": (("protocol",),),
    "cluster_type": (("resolve",),),
}
"""Fields of the upstream without which the translated Cluster might not have the newer one."""
_PANIC: Final = ("common_lb_config", "healthy_panic_threshold")
_REFUSED: Final = [(name,) for name in ENVOY_FIELDS_REFUSED] + [_PANIC, *chain(*_SUPERSEDED.values())]
_NEVER_MEANT: Final = {
    "envoy.config.cluster.v3.Cluster": {str(path[0]) for path in _REFUSED if len(path) == 1},
    "envoy.config.cluster.v3.Cluster.CommonLbConfig": {str(path[1]) for path in _REFUSED if len(path) == 2},
}
"""Fields that a misspelt one is not taken for, as they would be refused as well."""


class OverrideError(ValueError):
    """An `envoy:` field that cannot be applied. `problems` say where, with locations that begin with ``envoy``."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in problems))
        self.problems = problems


def override(cluster: Any, envoy: Mapping[str, Any] | RawCluster) -> None:
    """Lay `envoy` over a translated Cluster, in place. Raises `OverrideError`; the Cluster is then half written."""
    if not envoy:
        return
    problems: list[Problem] = []
    panic = cluster.common_lb_config.healthy_panic_threshold.value
    if isinstance(envoy, RawCluster):
        problems += _lay_raw(cluster, envoy)
    else:
        JsonWriter(problems, _NEVER_MEANT).write(cluster, envoy, _HERE)
    problems += _superseded(cluster, envoy)
    problems += written_out(cluster, envoy)
    common = cluster.common_lb_config
    if not common.HasField("healthy_panic_threshold") or common.healthy_panic_threshold.value != panic:
        # Which targets are sent to Envoy at all depends on it: panic reaches those that were taken out by hand.
        message = "'healthy_panic_threshold' cannot be changed here: set the upstream's on_all_unhealthy"
        problems.append(Problem(_place(envoy, _PANIC), message))
    if problems:
        raise OverrideError(problems)


def _lay_raw(cluster: Any, envoy: RawCluster) -> list[Problem]:
    try:
        source = cluster_pb2.Cluster.FromString(envoy.body)
    except DecodeError:
        return [Problem(_HERE, "these bytes are not an Envoy Cluster")]
    given = [field.name for field, _ in source.ListFields() if field.name in ENVOY_FIELDS_REFUSED]
    if given:
        message = "may not be set here: it ties the cluster to its name and targets"
        return [Problem((*_HERE, name), f"{name!r} {message}") for name in given]
    _merge(cluster, source)
    return []


def _merge(target: Any, source: Any) -> None:
    """Lay the fields that `source` has over `target`. A bare `false` or `0` is not among them: bytes do not hold it."""
    for field, value in source.ListFields():
        if is_map(field):
            entries = getattr(target, field.name)
            inner = map_value(field)
            for key in value:
                if inner.message_type is None:
                    entries[key] = value[key]
                else:
                    _merge_message(entries[key], value[key])
        elif field.is_repeated:
            target.ClearField(field.name)
            getattr(target, field.name).MergeFrom(value)
        elif field.message_type is not None:
            inner = getattr(target, field.name)
            inner.SetInParent()
            _merge_message(inner, value)
        else:
            setattr(target, field.name, value)
    target.MergeFromString(unknown_fields(source))


def _merge_message(target: Any, source: Any) -> None:
    kind = message_type(source.TypeName()) if is_any(source) and source.type_url == target.type_url else None
    if kind is not None:
        merged, given = kind.FromString(target.value), kind.FromString(source.value)
        _merge(merged, given)
        target.value = merged.SerializeToString(deterministic=True)
    elif is_plain(source.DESCRIPTOR):
        target.CopyFrom(source)
    else:
        _merge(target, source)


def unknown_fields(message: Message) -> bytes:
    """The encoded fields of `message` that xds-protos does not know."""
    rest = type(message)()
    rest.CopyFrom(message)
    for field, _ in message.ListFields():
        rest.ClearField(field.name)
    return rest.SerializeToString(deterministic=True)


def _superseded(cluster: Any, envoy: Mapping[str, Any] | RawCluster) -> list[Problem]:
    return [
        Problem(
            _place(envoy, path),
            f"{path[-1]!r} has no effect beside {newer}: {_INSTEAD[newer]}",
            _RESTS_ON.get(newer, ()),
        )
        for newer, paths in _SUPERSEDED.items()
        if _has(cluster, (newer,))
        for path in paths
        if _has(cluster, path)
    ]


def _place(envoy: Mapping[str, Any] | RawCluster, path: Location) -> Location:
    return (*_HERE, *(path if isinstance(envoy, RawCluster) else written(envoy, path)))


def _has(message: Any, path: Location) -> bool:
    for name in path[:-1]:
        message = getattr(message, str(name))
    return any(field.name == path[-1] for field, _ in message.ListFields())
