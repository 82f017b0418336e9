"""What localities mean: how near a target is to those that ask, and the share of each locality."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from envoy.config.endpoint.v3 import endpoint_pb2

from xds_server.upstreams.model import Upstream


class Place(NamedTuple):
    """Where an Envoy or a gRPC client says that it runs (`Node.locality`)."""

    region: str = ""
    zone: str = ""


NOWHERE: Final = Place()
"""Of those that do not say: all targets are equally far."""

LocalityWeights = Mapping[tuple[str, str, str], int]
"""By region, zone and sub-zone."""

_LAST: Final = 128
_DISTANCES: Final = 3
"""In the same zone, in the same region, anywhere else."""


def nearest_first(assignment: Any, place: Place) -> Any:
    """A `ClusterLoadAssignment` for those at `place`: each of its priorities becomes up to three, without gaps.

    Those that would be beyond the last one that Envoy knows are one with it: Envoy would refuse them, and all else with them.
    """
    effective = [
        (entry.priority * _DISTANCES + _distance(entry.locality, place), index)
        for index, entry in enumerate(assignment.endpoints)
    ]
    ranks = {priority: rank for rank, priority in enumerate(sorted({priority for priority, _ in effective}))}
    made = endpoint_pb2.ClusterLoadAssignment(cluster_name=assignment.cluster_name)
    if assignment.HasField("policy"):
        made.policy.CopyFrom(assignment.policy)
    for priority, index in sorted(effective):
        made.endpoints.add().CopyFrom(assignment.endpoints[index])
        made.endpoints[-1].priority = min(ranks[priority], _LAST)
    return made


def _distance(there: Any, place: Place) -> int:
    """0 to 2, from a `core.v3.Locality`. Zones are names within a region; what has no locality is near to nobody."""
    if there.region != place.region:
        return 2
    if there.zone and there.zone == place.zone:
        return 0
    return 1 if there.region else 2


def locality_weights(upstream: Upstream) -> LocalityWeights:
    """What `localities.weights` says; empty where localities have none."""
    localities = upstream.localities
    return {entry.parts: entry.weight for entry in localities.weights} if localities is not None else {}


def without_emptied(upstream: Upstream) -> Upstream:
    """The upstream with weight 0 for each target of a locality that has weight 0, which Envoy refuses to be told."""
    emptied = {locality for locality, weight in locality_weights(upstream).items() if not weight}
    if not emptied:
        return upstream
    targets = (
        target.model_copy(update={"weight": 0}) if target.locality.parts in emptied else target
        for target in upstream.targets
    )
    return upstream.model_copy(update={"targets": tuple(targets)})
