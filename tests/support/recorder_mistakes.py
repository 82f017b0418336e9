"""What clients do, and what a server does wrong then: for the tests of the recorder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from scripted_client import Client, cluster, endpoints, listener, routes, settled, web

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Resource, Snapshot, turns
from xds_server.xds import stream as stream_module
from xds_server.xds.delta import DeltaWatch
from xds_server.xds.last_good import LastGood
from xds_server.xds.quarantine import Quarantine
from xds_server.xds.resource import length_delimited
from xds_server.xds.sotw import SotwStream, SotwWatch
from xds_server.xds.stream import Stream
from xds_server.xds.watch import Watch

Patch = pytest.MonkeyPatch


# What clients do: enough of it that each mistake shows


def everyday(made: Client) -> None:
    """Subscriptions, changes, a swap, an ACK and a NACK."""
    settled(made, *web("a", "b"), listener("l"), routes("r", "a"))
    made.change(endpoints("a", 2))
    made.accept(*made.sent())
    made.change(endpoints("b", 2))
    for response in made.sent():
        made.reject(response)
    made.sent(after=5)
    swap(made)
    made.want(ENDPOINTS, "b")
    made.change(endpoints("a", 9), endpoints("c", 9), cluster("b", 9))
    made.accept(*made.sent(after=5))


def swap(made: Client) -> None:
    made.change(*web("c"), routes("r", "c"), listener("l", 81), remove=((CLUSTER, "a"), (ENDPOINTS, "a")))
    sent = made.sent()
    for _ in range(9):
        sent = made.accept(*sent)
    made.accept(*made.sent(after=5))


def odd_resource(resource: Resource) -> Callable[[Client], None]:
    def script(made: Client) -> None:
        made.publish(Snapshot.of([resource]))
        made.stream.receive(made.stream.request(type_url=resource.type_url, node={"id": "n"}))
        made.stream.respond(1.0)

    return script


def asked_for_one(made: Client) -> None:
    made.publish(Snapshot.of(web("a", "b", "c")))
    made.accept(*made.want(ENDPOINTS, "a"))
    made.change(endpoints("b", 2))
    made.sent()
    made.change(remove=((ENDPOINTS, "b"), (ENDPOINTS, "c")))
    made.sent(after=5)


def refused_by_name(made: Client) -> None:
    """A cluster and an assignment are bad beside good ones, and the client says which."""
    settled(made, *web("a", "b"))
    made.change(cluster("a", 2), cluster("b", 2))
    for _ in range(2):
        for response in made.sent(after=2):
            sent = made.reject(response, "'a' is wrong") if response.type_url == CLUSTER else made.accept(response)
            for again in sent:
                made.accept(again)
        made.change(endpoints("a", 5), endpoints("b", 5))
        for response in made.sent():
            for again in made.reject(response, "'a' is wrong"):
                made.accept(again)
        made.change(cluster("b", 3))


def refused_together(made: Client) -> None:
    """Four are rejected, in whatever parts they come."""
    made.publish(Snapshot.of(web("a", "b", "c", "d")))
    sent = made.want(ENDPOINTS, "a", "b", "c", "d")
    for _ in range(12):
        sent = [again for response in sent for again in made.reject(response)]


def of_before(made: Client) -> None:
    """A client comes back to a control plane that lost what it knew."""
    made.publish(Snapshot.unwritten())
    made.ask(CLUSTER, **({"held": {"a": "1"}} if made.delta else {"version": "1"}))
    made.sent(after=5)


# What the server does wrong


def same_nonce(patch: Patch) -> None:
    patch.setattr(stream_module, "count", lambda start: iter(["1"] * 1000))


def no_nonce(patch: Patch) -> None:
    patch.setattr(stream_module, "count", lambda start: iter([""] * 1000))


def says_it_twice(patch: Patch) -> None:
    for kind, method in ((SotwWatch, "_body"), (DeltaWatch, "_frames")):
        made = getattr(kind, method)

        def twice(self: Any, *arguments: Any, made: Any = made) -> bytes:
            return made(self, *arguments) * 2

        patch.setattr(kind, method, twice)


def leaves_out(patch: Patch) -> None:
    def body(self: SotwWatch, snapshot: Snapshot, version: str, changed: Any) -> bytes:
        return length_delimited(1, version.encode()) + length_delimited(4, self.type_url.encode())

    patch.setattr(SotwWatch, "_body", body)


def no_type(patch: Patch) -> None:
    patch.setattr(SotwWatch, "_body", lambda self, snapshot, version, changed: length_delimited(1, version.encode()))


def answers(patch: Patch, rejected: bool) -> None:
    answer = Watch.answer

    def and_sends_again(self: Watch, nonce: str, detail: str | None, version: str = "") -> Any:
        answered = answer(self, nonce, detail, version)
        if answered is not None and (detail is not None) == rejected:
            self.owed |= set(answered.response.names)
            self.must_answer = True
        return answered

    patch.setattr(Watch, "answer", and_sends_again)


def answers_acks(patch: Patch) -> None:
    answers(patch, rejected=False)


def sends_what_was_rejected(patch: Patch) -> None:
    answers(patch, rejected=True)


def tries_for_ever(patch: Patch) -> None:
    patch.setattr(Quarantine, "_blame", lambda self, case, suspects: _try_all(self, case, suspects))


def _try_all(quarantine: Quarantine, case: Any, suspects: set[str]) -> None:
    case.left, case.untried = 8, case.untried | suspects
    quarantine._cases.append(case)


def sends_the_culprit_again(patch: Patch) -> None:
    patch.setattr(Quarantine, "refuse", lambda self, name, words: None)
    rejected = Watch._rejected

    def and_sends_again(self: Watch, response: Any, detail: str, culprits: Any, *, is_left_over: bool) -> None:
        rejected(self, response, detail, culprits, is_left_over=is_left_over)
        self.owed |= set(culprits)

    patch.setattr(Watch, "_rejected", and_sends_again)
    patch.setattr(LastGood, "view", lambda self, snapshot: snapshot)


def leaves_out_the_culprit(patch: Patch) -> None:
    stands_in_with(patch, lambda name: None)


def stands_in_with_another(patch: Patch) -> None:
    stands_in_with(patch, lambda name: cluster(name, 77))


def stands_in_with(patch: Patch, what: Callable[[str], Resource | None]) -> None:
    refused = LastGood.refused

    def and_replaces(self: LastGood, culprits: Any, current: Snapshot) -> list[str]:
        replaced = refused(self, culprits, current)
        self.stand_ins |= {name: what(name) for name in replaced}
        return replaced

    patch.setattr(LastGood, "refused", and_replaces)


def empty_answers(patch: Patch) -> None:
    follow = SotwWatch.follow

    def and_answers(self: SotwWatch, group: Any) -> None:
        before = self.cursor
        follow(self, group)
        self.must_answer |= before is not self.cursor

    patch.setattr(SotwWatch, "follow", and_answers)


def removes_what_exists(patch: Patch) -> None:
    make = DeltaWatch._response

    def removes(self: Any, group: Any, snapshot: Any, nonce: str, names: Any, removed: Any) -> Any:
        return make(self, group, snapshot, nonce, (), (*removed, *names))

    patch.setattr(DeltaWatch, "_response", removes)


def removes_again(patch: Patch) -> None:
    take = DeltaWatch.take_gone

    def remembers(self: Any) -> Any:
        self.all_gone = getattr(self, "all_gone", set()) | take(self)
        return set(self.all_gone)

    patch.setattr(DeltaWatch, "take_gone", remembers)


def wants_everything(patch: Patch) -> None:
    patch.setattr(Watch, "wants", lambda self, name: True)
    patch.setattr(Watch, "touched_by", lambda self, names: True)
    patch.setattr(Stream, "advance", lambda self, old, new: True)


def wrong_order(patch: Patch) -> None:
    patch.setattr(stream_module, "make_order", lambda type_url: [ROUTES, LISTENER, ENDPOINTS, CLUSTER].index(type_url))
    patch.setattr(turns, "clusters_ready", lambda watch, watches: 0.0)


def breaks_first(patch: Patch) -> None:
    patch.setattr(turns, "users_moved_on", lambda watch, watches: 0.0)
    patch.setattr(turns, "users_busy", lambda watches: False)


def what_nobody_asked_for(patch: Patch) -> None:
    receive = SotwStream._read

    def opens(self: Any, watch: Any, request: Any) -> None:
        receive(self, watch, request)
        if ENDPOINTS not in self._watches:
            other = self._open(ENDPOINTS)
            other.wildcard = other.must_answer = True

    patch.setattr(SotwStream, "_read", opens)


def believes_what_was_never_written(patch: Patch) -> None:
    patch.setattr(Watch, "is_held", lambda self, snapshot: False)


def nothing(patch: Patch) -> None:
    pass
