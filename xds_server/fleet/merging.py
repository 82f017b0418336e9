"""One fleet out of the parts that several replicas have of it. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from xds_server.fleet.progress import Progress
from xds_server.fleet.status import WORST_FIRST, NodeStatus, TypeStatus

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


def merged_nodes(parts: Iterable[Iterable[NodeStatus]]) -> list[NodeStatus]:
    """Every node of all parts once, sorted by id."""
    by_id: dict[str, list[NodeStatus]] = {}
    for part in parts:
        for status in part:
            by_id.setdefault(status.id, []).append(status)
    return [merged_node(seen) for _, seen in sorted(by_id.items())]


def merged_node(seen: Sequence[NodeStatus]) -> NodeStatus:
    """A node as one or more replicas see it.

    Where it is connected counts: one that moved is where it is now. With streams at several replicas it is shown as one of them
    would show it that had all of these: as its newest stream tells, each type on the stream that is worst off.
    """
    connected = [status for status in seen if status.connected]
    if len(seen) == 1 or len(connected) == 1:
        return (connected or seen)[0]
    if not connected:
        return max(seen, key=lambda status: status.disconnected_at or _LONG_AGO)
    streams = sorted((each for status in connected for each in status.streams), key=lambda each: each.connected_since)
    newest = max(connected, key=lambda status: max(each.connected_since for each in status.streams))
    types: dict[str, TypeStatus] = {}
    for each in (type for status in connected for type in status.types):
        if (other := types.get(each.type_url)) is None or _rank(each) < _rank(other):
            types[each.type_url] = each
    return replace(
        newest,
        connected_since=streams[0].connected_since,
        streams=tuple(streams),
        types=tuple(sorted(types.values(), key=lambda each: each.type)),
    )


def _rank(type: TypeStatus) -> tuple[int, float]:
    """Worst first, then the newest."""
    return WORST_FIRST.index(type.status), -(type.sent_at or _LONG_AGO).timestamp()


def merged_progress(
    own: Progress, others: Sequence[Progress], *, awaited: tuple[str, ...] = (), unknown: str = ""
) -> Progress:
    """How far a revision has come everywhere. `awaited`, `unknown`: see `Progress`."""
    if not (others or awaited or unknown):
        return own
    parts, awaited = [own, *others], (*own.awaited, *awaited)
    pending: dict[str, set[str]] = {}
    for part in parts:
        for node, types in part.pending.items():
            pending.setdefault(node, set()).update(types)
    is_open = awaited or unknown or any(part.is_open for part in parts)
    return Progress(
        revision=own.revision,
        published=own.published,
        affected=sum(part.affected for part in parts),
        acknowledged=sum(part.acknowledged for part in parts),
        warm=sum(part.warm for part in parts),
        left=sum(part.left for part in parts),
        pending={node: tuple(sorted(types)) for node, types in sorted(pending.items())},
        rejections=sum(part.rejections for part in parts),
        rejected=tuple(each for part in parts for each in part.rejected),
        seconds=None if is_open else max((part.seconds for part in parts if part.seconds is not None), default=None),
        awaited=awaited,
        unknown=unknown,
    )
