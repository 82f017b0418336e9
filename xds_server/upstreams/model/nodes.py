"""Which Envoys receive a definition."""

from pydantic import Field

from xds_server.upstreams.model.base import Definition
from xds_server.upstreams.model.scalars import Labels, OneLine
from xds_server.upstreams.model.target import Locality


class NodeSelector(Definition):
    """Chooses Envoys by what their bootstrap's `node` says: all kinds that are given must match, one entry of each.

    An empty selector matches every Envoy.
    """

    clusters: tuple[OneLine, ...] = ()
    """Values of `node.cluster`. Default: any."""
    ids: tuple[OneLine, ...] = ()
    """Values of `node.id`. Default: any."""
    localities: tuple[Locality, ...] = ()
    """Localities; a part that is left out matches any. Default: any."""
    labels: Labels = Field(default_factory=dict)
    """Text values of `node.metadata` that must all be equal. Default: any."""
