"""What is said between manager and worker, as messages and back. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from xds_server.delivery.audience import NodeGroup
from xds_server.fleet.metrics import Sums
from xds_server.fleet.words import Word, node_body, rollout_body
from xds_server.upstreams.translate import NOWHERE, Dialect, Place
from xds_server.workers import frames_pb2
from xds_server.xds import Event, Node, Reference, Resource, Snapshot
from xds_server.xds.snapshot import Difference

Steps = Mapping[str, Difference]
"""By type URL."""


def resource_message(resource: Resource) -> frames_pb2.Resource:
    """All of it but its frames, which are made of the rest."""
    references = [frames_pb2.Reference(type_url=type_url, name=name) for type_url, name in resource.references]
    return frames_pb2.Resource(
        type_url=resource.type_url,
        name=resource.name,
        version=resource.version,
        body=resource.body,
        references=references,
    )


def resource(message: frames_pb2.Resource) -> Resource:
    """With the same version."""
    references = [Reference(each.type_url, each.name) for each in message.references]
    named = (message.type_url, message.name, message.body)
    return Resource.encode(*named, version=message.version, references=references)


def whole(group: str, snapshot: Snapshot) -> bytes:
    """All that a group is served, as a `Step`."""
    upsert = map(resource_message, snapshot)
    return _step(group, upsert, is_whole=True, is_unwritten=snapshot.is_unwritten)


def step(group: str, snapshot: Snapshot, differences: Steps) -> bytes:
    """What leads to `snapshot`, as a `Step`."""
    changed = (
        found
        for type_url, difference in differences.items()
        for name in difference.changed
        if (found := snapshot.get(type_url, name)) is not None
    )
    removed = [
        frames_pb2.Reference(type_url=type_url, name=name)
        for type_url, difference in differences.items()
        for name in difference.removed
    ]
    return _step(group, map(resource_message, changed), remove=removed)


def _step(group: str, upsert: Iterable[frames_pb2.Resource], **more: Any) -> bytes:
    return frames_pb2.Step(group=group, upsert=upsert, **more).SerializeToString()


def applied(message: frames_pb2.Step, before: Snapshot | None) -> Snapshot | None:
    """What a `Step` leads to from `before`; None where it does not begin there."""
    if message.is_unwritten:
        return Snapshot.unwritten()
    upsert = [resource(each) for each in message.upsert]
    if message.is_whole:
        return Snapshot.of(upsert)
    if before is None:
        return None
    return before.change(upsert, [(each.type_url, each.name) for each in message.remove])


def selectors_message(selectors: Mapping[str, bool]) -> frames_pb2.Selectors:
    """See `Audiences.in_use`."""
    return frames_pb2.Selectors(
        selectors=[frames_pb2.Selector(key=key, by_place=by_place) for key, by_place in selectors.items()]
    )


def want(group: NodeGroup) -> frames_pb2.Want:
    """The question for a group."""
    place = {"region": group.place.region, "zone": group.place.zone}
    return frames_pb2.Want(dialect=group.dialect.value, selectors=sorted(group.selectors), **place)


def wanted(message: frames_pb2.Want) -> NodeGroup:
    """The group that is asked for."""
    place = Place(message.region, message.zone)
    return NodeGroup(Dialect(message.dialect), frozenset(message.selectors), NOWHERE if place == NOWHERE else place)


def word_message(word: Word) -> frames_pb2.Word:
    """A part of the fleet."""
    return frames_pb2.Word(
        delivered=word.delivered,
        forgotten=word.forgotten,
        nodes=map(node_body, word.nodes),
        rollouts=map(rollout_body, word.rollouts),
    )


def event_message(event: Event) -> frames_pb2.Event:
    """As much of an event as the log tells."""
    said = event.node
    node = frames_pb2.Node(id=said.id, user_agent=said.user_agent) if said is not None else None
    return frames_pb2.Event(
        kind=event.kind,
        stream=event.stream,
        node=node,
        type_url=event.type_url,
        version=event.version,
        nonce=event.nonce,
        names=event.names,
        detail=event.detail,
        culprits=event.culprits,
        applied=event.applied,
    )


def event(message: Any) -> Event:
    """The same again."""
    node = Node(message.node.id, user_agent=message.node.user_agent) if message.HasField("node") else None
    return Event(
        message.kind,
        message.stream,
        node,
        type_url=message.type_url,
        version=message.version,
        nonce=message.nonce,
        names=tuple(message.names),
        detail=message.detail,
        culprits=tuple(message.culprits),
        applied=message.applied,
    )


def figures_message(sums: Sums) -> frames_pb2.Figures:
    """What was counted."""
    figures = (frames_pb2.Figure(name=name, labels=dict(labels), value=value) for (name, labels), value in sums.items())
    return frames_pb2.Figures(figures=figures)


def figures(message: frames_pb2.Figures) -> Sums:
    """The same again."""
    return {(each.name, tuple(sorted(each.labels.items()))): each.value for each in message.figures}
