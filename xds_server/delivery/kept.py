"""What an upstream became for Envoys, for its next change: one of targets alone leaves all but their endpoints as it is.

A Cluster never depends on which targets there are, but where Envoy resolves their names, and in the name of the assignment.
"""

from typing import Final, NamedTuple

from xds_server.upstreams.model import Upstream
from xds_server.upstreams.translate import Encoded, eds_name, envoy_resolves
from xds_server.xds import Resource

_SURROUNDINGS: Final = tuple(name for name in Upstream.model_fields if name != "targets")


class Kept(NamedTuple):
    """What was compiled in one dialect. Of upstreams whose names Envoy resolves nothing is kept."""

    upstream: Upstream
    """From this."""
    cluster: Resource
    virtual_host: bytes | None
    endpoints: Encoded


def still_true(before: Kept | None, upstream: Upstream) -> Kept | None:
    """`before`, if compiling `upstream` in the same dialect would make the same cluster and virtual host; else None."""
    if before is None or not differ_in_targets_alone(before.upstream, upstream):
        return None
    if envoy_resolves(upstream) or eds_name(before.upstream) != eds_name(upstream):
        return None
    return before


def differ_in_targets_alone(one: Upstream, other: Upstream) -> bool:
    """Whether two upstreams say the same of everything but their targets.

    To the letter: `envoy:` may hold any JSON, and true, 1 and 1.0 are equal in Python.
    """
    mine, others = vars(one), vars(other)
    return all(mine[name] is others[name] or _is_same(mine[name], others[name]) for name in _SURROUNDINGS)


def _is_same(one: object, other: object) -> bool:
    return one == other and repr(one) == repr(other)
