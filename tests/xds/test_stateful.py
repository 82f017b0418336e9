"""Clients that do anything, in any order, end up with exactly what they should hold (E4): random walks against a model.

The walk is here, the clients in `model_client`, what is right in `model_judge`. The seed is printed:
`--hypothesis-seed` repeats the run. `make soak` walks for minutes.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from model_client import TYPES, Dislike, Profile, Refusal
from model_world import CLUSTERS, GROUPS, NAMES, World, resource, site

from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, RUNTIME, Snapshot

FIRST, ROUNDS = 1, 5
"""First seed of those that `make test` takes, and how many."""
WALKS, STEPS = 100, 50
PROFILES = [
    Profile(delta=delta, aggregated=aggregated, envoy=envoy)
    for delta in (False, True)
    for aggregated, envoy in ((True, True), (True, False), (False, False))
]
GROUP = st.sampled_from([*GROUPS, GROUPS[0], GROUPS[0]])
TYPE = st.sampled_from(TYPES)
NODE = st.sampled_from(["n0", "n1"])
VARIANT = st.integers(0, 3)
BEGINNING = {CLUSTER: (), ENDPOINTS: CLUSTERS, LISTENER: (), ROUTES: ("l", "m"), RUNTIME: ("r", "missing")}
REFUSAL = st.builds(Refusal, part=st.integers(0, 255), names_version=st.booleans(), words=st.integers(0, 2))


@st.composite
def edits(draw: Any) -> tuple[str, str, int | None]:
    """Type, name, and a variant; or None to remove it."""
    type_url = draw(TYPE)
    return type_url, draw(st.sampled_from(NAMES[type_url])), draw(st.sampled_from([0, 1, 2, 3, None]))


@st.composite
def subscriptions(draw: Any) -> tuple[str, set[str], set[str]]:
    """Type, names to add, names to drop."""
    type_url = draw(TYPE)
    names = st.sets(st.sampled_from([*NAMES[type_url], "*", "missing"]), max_size=3)
    return type_url, draw(names), draw(names)


class Walk(RuleBasedStateMachine):
    """Two clients of one server."""

    @initialize(profiles=st.lists(st.sampled_from(PROFILES), min_size=2, max_size=2), clusters=st.integers(0, 4))
    def begin(self, profiles: list[Profile], clusters: int) -> None:
        self.world = World(profiles)
        if clusters:
            self.world.publish(GROUPS[0], Snapshot.of(site(CLUSTERS[:clusters], 0, 0)))
        for node, client in self.world.clients.items():
            self.world.connect(node, forget=False)
            for type_url in TYPES:
                client.ask(type_url, set() if client.profile.envoy else set(BEGINNING[type_url]), set())

    # What is served

    @rule(group=GROUP, changes=st.lists(edits(), min_size=1, max_size=4), label=st.none() | TYPE)
    def change(self, group: str, changes: list[tuple[str, str, int | None]], label: str | None) -> None:
        upsert = [resource(t, name, variant) for t, name, variant in changes if variant is not None]
        remove = [(t, name) for t, name, variant in changes if variant is None]
        self.world.labels += 1
        versions = {label: f"label {self.world.labels}"} if label else None
        self.world.publish(group, self.world.snapshot(group).change(upsert, remove, versions=versions))

    @rule(
        group=GROUP, clusters=st.sets(st.sampled_from(CLUSTERS)), variant=VARIANT, weight=VARIANT, fresh=st.booleans()
    )
    def swap(self, group: str, clusters: set[str], variant: int, weight: int, fresh: bool) -> None:
        """Other clusters, with their endpoints and the routes to them. `fresh`: a snapshot that is not a change of the last."""
        wanted = site(tuple(sorted(clusters)), variant, weight)
        if fresh:
            self.world.publish(group, Snapshot.of(wanted))
            return
        old, new = self.world.snapshot(group), {r.name for r in wanted if r.type_url in (CLUSTER, ENDPOINTS)}
        gone = [(t, name) for t in (CLUSTER, ENDPOINTS) for name in old.names(t) if name not in new]
        self.world.publish(group, old.change(wanted, gone))

    @rule(what=st.sampled_from(["move", "move", "empty", "restart"]), node=NODE, group=GROUP)
    def upheaval(self, what: str, node: str, group: str) -> None:
        if what == "move":
            self.world.move(node, group)
        elif what == "empty":
            self.world.publish(group, Snapshot.of())
        else:
            groups = self.world.groups.items()
            self.world.start_server({name: group.snapshot for name, group in groups if group.snapshot is not None})

    # What clients do

    @rule(
        node=NODE,
        types=st.permutations(TYPES),
        count=st.sampled_from([5, 5, 4, 2, 0]),
        forget=st.booleans(),
        claims=VARIANT,
    )
    def connect(self, node: str, types: list[str], count: int, forget: bool, claims: int) -> None:
        """`count`: of how many types the client asks at once for what it asked for before."""
        self.world.connect(node, forget=forget and claims == 0)
        for type_url in types[:count]:
            self.world.clients[node].ask(type_url, set(), set(), claims=claims)

    @rule(node=NODE, change=subscriptions(), stale=st.booleans())
    def ask(self, node: str, change: tuple[str, set[str], set[str]], stale: bool) -> None:
        client, (type_url, add, drop) = self.world.clients[node], change
        if client.profile.envoy:
            add, drop = set(), set()
        add = add - self.world.unsound(node, type_url)
        if self.world.connections[node] and not (client.profile.envoy and client.sides[type_url].requested):
            client.ask(type_url, add, drop, stale=stale)

    @rule(node=NODE, count=st.integers(1, 4), refusal=st.none() | REFUSAL, answered=st.sets(TYPE))
    def read(self, node: str, count: int, refusal: Refusal | None, answered: set[str]) -> None:
        """Read some responses, reject the last of them, and answer for some types."""
        for number in reversed(range(count)):
            self.world.take(node, None if number else refusal)
        for type_url in sorted(answered):
            self.answer(node, type_url, False)

    @rule(
        node=NODE,
        what=st.sampled_from([(t, name) for t in (CLUSTER, ENDPOINTS, LISTENER) for name in NAMES[t]]),
        variant=VARIANT,
        dislike=st.builds(Dislike, names_it=st.booleans(), takes_others=st.booleans()),
        changes=st.lists(edits(), max_size=3),
        read=st.booleans(),
    )
    def turn_bad(
        self, node: str, what: tuple[str, str], variant: int, dislike: Dislike, changes: list[Any], read: bool
    ) -> None:
        """A resource becomes, beside other changes, what a client can never use. `read`: which is up to date before that."""
        if read:
            self.accept(node)
        self.world.dislike(node, resource(*what, variant), dislike)
        self.change(self.world.members[node], [*changes, (*what, variant)], None)
        if read:
            self.accept(node)

    @rule(node=NODE)
    def accept(self, node: str) -> None:
        while self.world.take(node, None):
            for type_url in TYPES:
                self.answer(node, type_url, False)

    @rule(node=NODE, type_url=TYPE, leftover=st.booleans())
    def answer(self, node: str, type_url: str, leftover: bool) -> None:
        if self.world.clients[node].sides[type_url].answers:
            client = self.world.clients[node]
            client.answer(type_url, leftover=leftover and client.profile.envoy)

    @rule(node=NODE, type_url=TYPE, what=st.sampled_from(["sleep", "start again", "disconnect"]))
    def falter(self, node: str, type_url: str, what: str) -> None:
        if what == "sleep":
            self.world.sleep(node, type_url)
        elif what == "disconnect":
            self.world.disconnect(node)
        else:
            self.world.start_again(node, type_url)

    @rule(seconds=st.sampled_from([0.05, 0.2, 0.9, 1.1, 2.5, 11]))
    def wait(self, seconds: float) -> None:
        self.world.tick(seconds)

    # What must come of it

    @rule(node=NODE)
    def rest(self, node: str) -> None:
        if self.world.connections[node]:
            self.world.settle(node)
            self.world.check_rest(node)

    def teardown(self) -> None:
        if not hasattr(self, "world") or sys.exc_info()[0] is not None:
            return
        for group in GROUPS:
            if self.world.groups[group].snapshot is None:
                self.world.publish(group, Snapshot.of())
        for node, client in self.world.clients.items():
            if not self.world.connections[node]:
                self.world.connect(node, forget=False)
            for type_url in TYPES:
                if not client.sides[type_url].requested:
                    client.ask(type_url, set(), set())
            self.rest(node)


_SETTINGS = settings(
    max_examples=WALKS,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize=False,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


def test_E4_whatever_clients_do_they_end_up_with_exactly_what_they_should_hold(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    given = request.config.getoption("--hypothesis-seed")
    minutes = float(os.environ.get("SOAK_MINUTES", "0"))
    # A landing is not to hang on luck: new walks are taken by `make soak`.
    first = int(given) if given not in (None, "random") else random.SystemRandom().getrandbits(32) if minutes else FIRST
    until = time.monotonic() + 60 * minutes
    number = first
    while True:
        print(f"--hypothesis-seed={number}", flush=True)
        run_state_machine_as_test(seed(number)(type("Walk", (Walk,), {})), settings=_SETTINGS)
        number += 1
        if time.monotonic() >= until and (minutes or given is not None or number >= first + ROUNDS):
            break
    record_property("measured", f"{(number - first) * WALKS} random walks of xDS clients, --hypothesis-seed={first}")
