"""What a process tells of its part of the fleet at a time, and the JSON in which it is told. No I/O."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from xds_server.fleet.progress import Progress
from xds_server.fleet.status import NodeStatus

NODE: Final = "node"
ROLLOUT: Final = "rollout"

_NODES: Final = TypeAdapter(NodeStatus)
_ROLLOUTS: Final = TypeAdapter(Progress)

Key = tuple[str, bytes]
"""Kind and name of what is told, for the store."""


class Word(NamedTuple):
    """What a process has to tell."""

    name: str
    before: int | None
    """Number of its last word; None: it begins, and what is known of it is void."""
    number: int
    """Of this one: higher than before where it says anything of nodes or revisions."""
    delivered: int
    forgotten: int
    nodes: Sequence[NodeStatus] = ()
    rollouts: Sequence[Progress] = ()
    gone: Sequence[Key] = ()
    """What it has nothing to tell of any more."""


def node_key(node_id: str) -> Key:
    """A digest, as an id may be of any length."""
    return NODE, blake2b(node_id.encode(), digest_size=16).digest()


def rollout_key(revision: int) -> Key:
    """The number."""
    return ROLLOUT, str(revision).encode()


def bodies(word: Word) -> dict[Key, bytes]:
    """What is to be kept of a word."""
    found = {node_key(status.id): node_body(status) for status in word.nodes}
    return found | {rollout_key(each.revision): rollout_body(each) for each in word.rollouts}


def node_body(status: NodeStatus) -> bytes:
    """As JSON."""
    return _NODES.dump_json(status)


def rollout_body(progress: Progress) -> bytes:
    """As JSON."""
    return _ROLLOUTS.dump_json(progress)


def node(body: bytes) -> NodeStatus | None:
    """From its JSON; None for what this program does not understand."""
    try:
        return _NODES.validate_json(body)
    except ValidationError:
        return None


def rollout(body: bytes) -> Progress | None:
    """From its JSON; None for what this program does not understand."""
    try:
        return _ROLLOUTS.validate_json(body)
    except ValidationError:
        return None
