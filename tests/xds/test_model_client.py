"""A client that does anything, in any order, ends up with exactly what it should hold: random walks against a model."""

from typing import Any

from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from scripted_client import Client, client, cluster, endpoints, names_of

from xds_server.xds import CLUSTER, ENDPOINTS, Snapshot
from xds_server.xds.delta import DeltaStream
from xds_server.xds.sotw import SotwStream

NAMES = st.sampled_from(["a", "b", "c", "d"])
TYPES = (CLUSTER, ENDPOINTS)


class Walk(RuleBasedStateMachine):
    """What both variants share. `held` is what the client has, by type and name: the resource's version."""

    kind: Any

    @initialize(ready=st.booleans())
    def connect_first(self, ready: bool) -> None:
        self.held: dict[str, dict[str, str]] = {CLUSTER: {}, ENDPOINTS: {}}
        self.accepted: dict[str, str] = {}
        self.wanted: set[str] = set()
        self.number = 1
        self.snapshot = Snapshot.of()
        self.client: Client = client(self.kind)
        self.group = self.client.group
        self.open()
        if ready:
            self.client.publish(self.snapshot)

    def open(self) -> None:
        self.inbox: list[Any] = []
        self.asked: set[str] = set()
        self.nonces: dict[str, str] = {}

    @rule()
    def reconnect(self) -> None:
        group, now = self.group, self.client.now
        self.client = client(self.kind)
        self.client.stream._group_of = lambda node: group  # the same server: what it published stands
        self.client.group, self.client.now = group, now
        self.open()

    @rule(name=NAMES, with_endpoints=st.booleans())
    def upsert(self, name: str, with_endpoints: bool) -> None:
        self.number += 1
        new = cluster(name, self.number)
        self.publish([new, endpoints(name, self.number, covers=new.version)] if with_endpoints else [new], [])

    @rule(name=NAMES)
    def change_endpoints(self, name: str) -> None:
        self.number += 1
        self.publish([endpoints(name, self.number)], [])

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        self.publish([], [(CLUSTER, name), (ENDPOINTS, name)])

    @rule(old=NAMES, new=NAMES)
    def swap(self, old: str, new: str) -> None:
        self.number += 1
        upsert = [cluster(new, self.number), endpoints(new, self.number)]
        self.publish(upsert, [(CLUSTER, old), (ENDPOINTS, old)] if old != new else [])

    def publish(self, upsert: Any, remove: Any) -> None:
        self.snapshot = self.snapshot.change(upsert, remove)
        if self.client.publish(self.snapshot):
            self.take()

    @rule(seconds=st.sampled_from([0.05, 0.2, 1.5]))
    def time_passes(self, seconds: float) -> None:
        self.client.now += seconds
        self.take()

    @rule()
    def ask_for_clusters(self) -> None:
        self.ask(CLUSTER)

    @rule(names=st.sets(NAMES))
    def ask_for_endpoints(self, names: set[str]) -> None:
        self.want(names)

    @precondition(lambda self: self.inbox)
    @rule()
    def acknowledge(self) -> None:
        response = self.inbox.pop(0)
        self.accept(response)
        self.answer(response, None)

    @precondition(lambda self: self.inbox)
    @rule()
    def reject(self) -> None:
        self.answer(self.inbox.pop(0), "no")

    def take(self) -> None:
        self.inbox += self.client.sent()

    def settle(self) -> None:
        """Everything is delivered and accepted, and time enough passes for every wait to end."""
        for _ in range(50):
            while self.inbox:
                self.acknowledge()
            self.client.now += 2
            self.take()
            if not self.inbox:
                return
        raise AssertionError("the server never comes to rest")

    def teardown(self) -> None:
        if not hasattr(self, "client"):
            return
        # What was rejected comes again once it changes: change everything once.
        self.ask(CLUSTER)
        self.want(self.wanted | {"last"})
        names = [*self.snapshot.names(CLUSTER)], [*self.snapshot.names(ENDPOINTS)]
        self.number += 1
        fresh = [cluster("last"), endpoints("last")]
        self.publish(
            [*fresh, *(cluster(n, self.number) for n in names[0]), *(endpoints(n, self.number) for n in names[1])], []
        )
        if self.group.snapshot is None:
            self.client.publish(self.snapshot)
            self.take()
        self.settle()
        assert self.held[CLUSTER] == self.desired(CLUSTER)
        desired = {name: version for name, version in self.desired(ENDPOINTS).items() if name in self.wanted}
        held = {name: version for name, version in self.held[ENDPOINTS].items() if name in self.wanted}
        if self.kind is SotwStream:  # removal of endpoints cannot be said there
            held = {name: version for name, version in held.items() if name in desired}
        assert held == desired

    def desired(self, type_url: str) -> dict[str, str]:
        return {resource.name: resource.body.hex() for resource in self.snapshot.resources(type_url)}

    @invariant()
    def bounded(self) -> None:
        if hasattr(self, "client"):
            for watch in self.client.stream._watches.values():
                assert len(watch.unanswered) <= 64
                assert not watch.owed & watch.gone.keys()

    def ask(self, type_url: str) -> None:
        raise NotImplementedError

    def want(self, names: set[str]) -> None:
        raise NotImplementedError

    def accept(self, response: Any) -> None:
        raise NotImplementedError

    def answer(self, response: Any, error: str | None) -> None:
        raise NotImplementedError


class DeltaWalk(Walk):
    kind = DeltaStream

    def ask(self, type_url: str) -> None:
        if type_url not in self.asked:
            self.asked.add(type_url)
            held = {name: self.versions[name] for name in self.held[CLUSTER]}
            self.inbox += self.client.ask(CLUSTER, held=held)

    def want(self, names: set[str]) -> None:
        new, dropped = names - self.wanted, self.wanted - names
        if ENDPOINTS not in self.asked:
            new, dropped = names, set()
        self.wanted = set(names)
        self.held[ENDPOINTS] = {name: v for name, v in self.held[ENDPOINTS].items() if name in names}
        if new or dropped:
            self.asked.add(ENDPOINTS)
            self.inbox += self.client.ask(ENDPOINTS, *sorted(new), drop=tuple(sorted(dropped)))

    def accept(self, response: Any) -> None:
        held = self.held[response.type_url]
        for entry in response.resources:
            held[entry.name] = entry.resource.value.hex()
            if response.type_url == CLUSTER:
                self.versions[entry.name] = entry.version
        for name in response.removed_resources:
            held.pop(name, None)

    def answer(self, response: Any, error: str | None) -> None:
        self.inbox += self.client.ask(response.type_url, nonce=response.nonce, error=error)

    @property
    def versions(self) -> dict[str, str]:
        return self.__dict__.setdefault("_versions", {})


class SotwWalk(Walk):
    kind = SotwStream

    def names(self, type_url: str) -> list[str]:
        return sorted(self.wanted) if type_url == ENDPOINTS else []

    def request(self, type_url: str, error: str | None = None) -> None:
        self.inbox += self.client.ask(
            type_url,
            *self.names(type_url),
            nonce=self.nonces.get(type_url, ""),
            version=self.accepted.get(type_url, ""),
            error=error,
        )

    def ask(self, type_url: str) -> None:
        if type_url not in self.asked:
            self.asked.add(type_url)
            self.request(type_url)

    def want(self, names: set[str]) -> None:
        if names != self.wanted or ENDPOINTS not in self.asked:
            self.wanted = set(names)
            self.held[ENDPOINTS] = {name: v for name, v in self.held[ENDPOINTS].items() if name in names}
            self.asked.add(ENDPOINTS)
            self.request(ENDPOINTS)

    def accept(self, response: Any) -> None:
        held = self.held[response.type_url]
        new = {name: body.value.hex() for name, body in zip(names_of(response), response.resources, strict=True)}
        if response.type_url == CLUSTER:
            held.clear()
        held.update(new)
        self.accepted[response.type_url] = response.version_info

    def answer(self, response: Any, error: str | None) -> None:
        assert isinstance(response, discovery_pb2.DiscoveryResponse)
        self.nonces[response.type_url] = response.nonce
        self.request(response.type_url, error)


_SETTINGS = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
TestDeltaWalk = DeltaWalk.TestCase
TestDeltaWalk.settings = _SETTINGS
TestSotwWalk = SotwWalk.TestCase
TestSotwWalk.settings = _SETTINGS
