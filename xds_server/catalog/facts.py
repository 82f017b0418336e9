"""What has to be known of every record without reading it: few words each, while its text stays text. Pure."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from xds_server.catalog.overrides import TargetOverride
from xds_server.catalog.store.records import dumped
from xds_server.upstreams.model import Gateway, NodeSelector, Upstream

SELECTORS: Final = 1_000
"""Different node selectors that are one object wherever they are said."""
_ALL_NODES: Final = NodeSelector()
_NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})


class Facts(NamedTuple):
    """Of a record. What its kind does not have is left at its default."""

    targets: int = 0
    """How many an upstream has."""
    virtual_hosts: tuple[str, ...] = ()
    """`Upstream.virtual_hosts`."""
    labels: Mapping[str, str] = _NO_LABELS
    nodes: NodeSelector = _ALL_NODES
    is_nearest_first: bool = False
    """`Upstream.is_nearest_first`."""
    is_sufficient: bool = True
    """Whether a definition needs nothing that the control plane finds or keeps beside it: no name resolved, and no secret."""
    port: int = 0
    """Of a gateway."""
    upstream: str | None = None
    """The upstream that a gateway forwards to alone."""
    expires: datetime | None = None
    """When an override does."""


def facts_of(value: Upstream | Gateway | TargetOverride) -> Facts:
    """What has to be known of what a record says."""
    if isinstance(value, Upstream):
        nodes = (
            _ALL_NODES if value.nodes == _ALL_NODES else _selector(value.nodes.model_dump_json(exclude_defaults=True))
        )
        labels = value.labels or _NO_LABELS
        sufficient = not _needs_names(value) and not _needs_secrets(value)
        return Facts(len(value.targets), value.virtual_hosts, labels, nodes, value.is_nearest_first, sufficient)
    if isinstance(value, Gateway):
        return Facts(port=value.port, upstream=value.upstream)
    return Facts(expires=value.expires)


def _needs_names(upstream: Upstream) -> bool:
    return upstream.resolve != "envoy" and any(target.needs_resolving for target in upstream.targets)


def _needs_secrets(upstream: Upstream) -> bool:
    return upstream.tls is not None and (upstream.tls.certificate is not None or upstream.tls.ca is not None)


def written(facts: Facts) -> str:
    """Facts of a definition as text. Those of one that is not sufficient cannot be written."""
    data: dict[str, Any] = {"targets": facts.targets, "hosts": facts.virtual_hosts}
    if facts.labels:
        data["labels"] = {**facts.labels}
    if facts.nodes is not _ALL_NODES:
        data["nodes"] = facts.nodes.model_dump_json(exclude_defaults=True)
    if facts.is_nearest_first:
        data["nearest"] = True
    if facts.port:
        data |= {"port": facts.port, "upstream": facts.upstream}
    return dumped(data)


def read(data: Mapping[str, Any]) -> Facts:
    """What `written` wrote, as plain data."""
    return Facts(
        data["targets"],
        tuple(data["hosts"]),
        data.get("labels", _NO_LABELS),
        _selector(data["nodes"]) if "nodes" in data else _ALL_NODES,
        data.get("nearest", False),
        port=data.get("port", 0),
        upstream=data.get("upstream"),
    )


@lru_cache(SELECTORS)
def _selector(text: str) -> NodeSelector:
    return NodeSelector.model_validate_json(text)
