"""What one replica tells the others at a time, and what it hears of them; and the JSON in which it is kept. No I/O."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from xds_server.fleet import NodeStatus, Progress

NODE: Final = "node"
ROLLOUT: Final = "rollout"

_NODES: Final = TypeAdapter(NodeStatus)
_ROLLOUTS: Final = TypeAdapter(Progress)

Key = tuple[str, bytes]
"""Kind and name of what is told, for the store."""


class Word(NamedTuple):
    """What a replica has to tell."""

    name: str
    before: int | None
    """Number of its last word; None: it begins, and what the store has of it is void."""
    number: int
    """Of this one: higher than before where it says anything of nodes or revisions."""
    delivered: int
    forgotten: int
    nodes: Sequence[NodeStatus] = ()
    rollouts: Sequence[Progress] = ()
    gone: Sequence[Key] = ()
    """What it has nothing to tell of any more."""


class Heard(NamedTuple):
    """What is new of another replica."""

    name: str
    number: int
    """Of its last word."""
    delivered: int
    forgotten: int
    nodes: Sequence[NodeStatus]
    rollouts: Sequence[Progress]
    unreadable: int
    """How much of it a newer or older program wrote that this one does not understand."""


class Answer(NamedTuple):
    """What the store says."""

    own: int | None
    """Number of the last word of the one who asks; None where the store does not know it."""
    awake: float
    """Seconds since the database was started."""
    others: Mapping[str, Heard]
    """Those that live, by id."""


def node_key(node_id: str) -> Key:
    """A digest, as an id may be of any length."""
    return NODE, blake2b(node_id.encode(), digest_size=16).digest()


def rollout_key(revision: int) -> Key:
    """The number."""
    return ROLLOUT, str(revision).encode()


def bodies(word: Word) -> dict[Key, bytes]:
    """What is to be kept of a word."""
    found = {node_key(status.id): _NODES.dump_json(status) for status in word.nodes}
    return found | {rollout_key(each.revision): _ROLLOUTS.dump_json(each) for each in word.rollouts}


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
