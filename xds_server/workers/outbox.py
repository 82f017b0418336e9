"""What one worker has to be told next. No I/O: `next` is asked when the socket takes more.

Nothing is queued: what a worker lacks is found when it is sent. So one that does not read costs what it was sent last, and
hears of the newest state alone when it reads on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from xds_server.delivery.audience import EVERYONE
from xds_server.workers import frames_pb2, messages
from xds_server.workers.frames import Frame
from xds_server.xds import Snapshot
from xds_server.xds.resource import length_delimited

if TYPE_CHECKING:
    from xds_server.workers.mirror import Mirror


class Outbox:
    """For one worker, which is told everything from the beginning."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self.wanted = {EVERYONE.name}
        """Names of the groups that it serves."""
        self.ring: Callable[[], object] = lambda: None
        """Called when there is something to tell it."""
        self.is_serving = False
        """The worker said that it listens, and has something to serve."""
        self._held: dict[str, Snapshot] = {}
        """What it was sent last of each group."""
        self._changed: dict[str, None] = dict.fromkeys(self.wanted)
        self._lacks_selectors = bool(mirror.selectors)
        self._revision = -1
        """The newest that it was told of."""
        self._has_begun = False
        """What it is told first is no news: how long that takes says nothing of a revision."""
        self._answers: deque[frames_pb2.Found] = deque()

    # What there is to tell

    def changed(self, group: str) -> None:
        """A group is served something else now."""
        if group in self.wanted:
            self._changed[group] = None
            self.ring()

    def regrouped(self) -> None:
        """Other selectors are in use."""
        self._lacks_selectors = True
        self.ring()

    def published(self) -> None:
        """There is a new revision."""
        self.ring()

    def answer(self, found: frames_pb2.Found) -> None:
        """Something that it asked for."""
        self._answers.append(found)
        self.ring()

    # What the worker asks

    def want(self, group: str) -> None:
        """It serves a group from now on, of which it holds nothing."""
        self.wanted.add(group)
        self._held.pop(group, None)
        self.changed(group)

    def drop(self, group: str) -> None:
        """It does not serve a group any more."""
        self.wanted.discard(group)
        self._held.pop(group, None)
        self._changed.pop(group, None)

    def lacks(self, group: str) -> bool:
        """Whether it is yet to be sent what a group is served now."""
        return group in self._changed

    # What it is told

    def next(self) -> Frame | None:
        """The next frame; None while there is nothing to say."""
        if self._answers:
            return Frame(frames_pb2.Found, self._answers.popleft().SerializeToString())
        steps = self._steps()
        commit = self._mirror.commit
        is_new, is_news, self._has_begun = commit.revision != self._revision, self._has_begun, True
        if not (steps or is_new or self._lacks_selectors):
            return None
        update = frames_pb2.Update(revision=commit.revision if is_new else -1)
        if is_new and is_news and commit.committed_at is not None:
            update.committed_at = commit.committed_at
        if self._lacks_selectors:
            update.selectors.CopyFrom(messages.selectors_message(self._mirror.selectors))
        self._lacks_selectors, self._revision = False, commit.revision
        field = frames_pb2.Update.STEPS_FIELD_NUMBER
        framed = (length_delimited(field, step) for step in steps)
        return Frame(frames_pb2.Update, b"".join([update.SerializeToString(), *framed]))

    def _steps(self) -> list[bytes]:
        steps = []
        changed, self._changed = self._changed, {}
        for group in changed:
            now, held = self._mirror.snapshot(group), self._held.get(group)
            if now is None or now is held:
                continue
            steps.append(self._mirror.step(group, held))
            self._held[group] = now
            self._mirror.sent(group)
        return steps
