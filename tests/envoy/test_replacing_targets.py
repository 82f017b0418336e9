"""Every target of an upstream is replaced at once while requests flow: none of them fails."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from dns_server import DnsServer
from one_port import backends_at
from rig import Rig, target

from xds_server.testing import Backend, Backends, Load

pytestmark = pytest.mark.envoy

# An overlap of 3 s, in which probes of a slow target take 0.2 s.
CHECKED: dict[str, Any] = {
    "health_checks": {"active": {"path": "/probe", "interval": "200ms", "timeout": "2s", "healthy_threshold": 1}}
}
SLOW = 0.2


@pytest.fixture(scope="module")
def names() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


@pytest.fixture(scope="module")
def rig(names: DnsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("rig"), args=["--dns-servers", names.address]) as rig:
        yield rig


@pytest.fixture
def backends() -> Iterator[Backends]:
    with Backends("a", "b", "c", "d") as servers:
        yield servers


class Polled:
    """An Envoy that polls, whose upstream's only target is replaced while the tests of this file run, as it takes so long."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.a, self.b = stack.enter_context(Backend("a")), stack.enter_context(Backend("b"))
        self._rig = Rig(directory, protocol="rest")
        self._define(self.a)  # before its first poll
        stack.enter_context(self._rig)
        self._rig.routes("polled")
        self._rig.serves("polled", self.a)
        self.load = stack.enter_context(self._rig.load("polled", rate=100))
        self.load.wait_for(20)
        self.b.delay = SLOW
        self._define(self.b)

    def _define(self, backend: Backend) -> None:
        self._rig.upstream("polled", target(backend), **CHECKED)

    def wait(self) -> None:
        """Until the new target is used."""
        envoy = self._rig.envoy
        envoy.wait_until(lambda: envoy.endpoints("polled")[self.b.address] == "HEALTHY", 30, "the new target")
        self.load.wait_for(8)


@pytest.fixture(scope="module", autouse=True)
def polled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Polled]:
    with ExitStack() as stack:
        yield Polled(tmp_path_factory.mktemp("polled"), stack)


def overlaps(rig: Rig, name: str) -> list[str]:
    """What was logged of overlaps of an upstream."""
    return [e["event"] for e in rig.server.events() if e["event"].startswith("overlap.") and e["name"] == name]


def overlap_begins(rig: Rig, name: str, count: int = 1) -> None:
    rig.server.wait_until(lambda: overlaps(rig, name).count("overlap.serving") >= count, 10, f"an overlap of {name}")


@pytest.mark.feature(
    "Target states", "all targets with active checks are replaced in one edit without a failed request"
)
def test_all_targets_at_once(rig: Rig, backends: Backends) -> None:
    """One by one, two by two, in a priority that has a standby, and with checks that change as well."""
    a, b, c, d = backends
    standby = target(d, priority=1)
    before = {"one": [target(a)], "two": [target(a), target(c)], "first": [target(a), standby], "edited": [target(a)]}
    after = {"one": [target(b)], "two": [target(b), target(d)], "first": [target(b), standby], "edited": [target(b)]}
    edited = {"health_checks": {"active": {**CHECKED["health_checks"]["active"], "interval": "300ms"}}}
    for name, targets in before.items():
        rig.upstream(name, *targets, **CHECKED)
    rig.serves("two", a, c)
    for name in before:
        rig.routes(name)
        rig.forwards(name)
    b.delay, d.delay = SLOW, SLOW  # so that the first probe takes a while
    with ExitStack() as stack:
        loads = {name: stack.enter_context(rig.load(name)) for name in before}
        loads["first"].wait_for(40)
        for name, targets in after.items():
            rig.upstream(name, *targets, **(edited if name == "edited" else CHECKED))
        for name in after:
            overlap_begins(rig, name)
        rig.serves("one", b)
        rig.serves("two", b, d)
        rig.serves("first", b, d)
        rig.serves("edited", b)
        for load in loads.values():
            load.wait_for(8)
        b.delay = d.delay = 0
        standbys = loads["first"].backends["d"]
    assert {name: dict(load.errors) for name, load in loads.items()} == {name: {} for name in loads}
    assert loads["one"].backends["a"] > 0
    assert loads["one"].backends["b"] > 0
    assert standbys == 0, "the standby did not take over in between"


@pytest.mark.feature("Target states", "a rollback amid the replacement of all targets fails no request")
def test_a_rollback_and_a_second_edit_amid_an_overlap(rig: Rig, backends: Backends) -> None:
    a, b, c, _ = backends
    for name in ("back", "on"):
        rig.upstream(name, target(a), **CHECKED)
        rig.serves(name, a)
        rig.routes(name)
    b.delay = c.delay = SLOW
    with rig.load("back") as back, rig.load("on") as on:
        back.wait_for(20)
        rig.upstream("back", target(b), **CHECKED)
        rig.upstream("on", target(b), **CHECKED)
        overlap_begins(rig, "back")
        overlap_begins(rig, "on")
        rig.upstream("back", target(a), **CHECKED)
        rig.upstream("on", target(c), **CHECKED)
        overlap_begins(rig, "on", 2)
        rig.serves("back", a)
        rig.serves("on", c)
        on.wait_for(8)
    assert (dict(back.errors), dict(on.errors)) == ({}, {})
    assert overlaps(rig, "back") == ["overlap.serving", "overlap.ended"]


@pytest.mark.feature("Target states", "what is taken out by hand is not kept serving while its replacement comes")
def test_disabled_and_removed_are_over_at_once(rig: Rig, backends: Backends) -> None:
    a, b, c, d = backends
    rig.upstream("disabled", target(a), **CHECKED)
    rig.upstream("removed", target(c), **CHECKED)
    rig.serves("disabled", a)
    rig.serves("removed", c)
    rig.upstream("disabled", target(a, state="disabled"), target(b), **CHECKED)
    rig.upstream("removed", target(d), **CHECKED)
    overlap_begins(rig, "removed")
    rig.remove("removed")
    rig.serves("disabled", b)
    rig.envoy.wait_until(lambda: "removed" not in rig.envoy.clusters(), 10, "its removal")
    assert overlaps(rig, "disabled") == []


@pytest.mark.feature(
    "Target states",
    "the only target drained as another is added: 503 until its first probe, as is told; not in two edits, or with send-all",
)
def test_draining_the_only_target(rig: Rig, backends: Backends) -> None:
    """A draining target gets nothing new, and the new one nothing before it was probed: then there is nobody."""
    a, b, *_ = backends
    kinds: dict[str, dict[str, Any]] = {"drained": {}, "in-two": {}, "all": {"on_all_unhealthy": "send-all"}}
    for name, fields in kinds.items():
        rig.upstream(name, target(a), **CHECKED, **fields)
        rig.serves(name, a)
        rig.routes(name)
    b.delay = SLOW
    with ExitStack() as stack:
        loads = {name: stack.enter_context(rig.load(name, rate=100)) for name in kinds}
        rig.upstream("in-two", target(a), target(b), **CHECKED)
        rig.serves("in-two", a, b)
        for name, fields in kinds.items():
            loads[name].wait_for(10)
            rig.upstream(name, target(a, state="draining"), target(b), **CHECKED, **fields)
        for name in kinds:
            rig.serves(name, *([b] if name == "all" else [a, b]), a="DRAINING")
            loads[name].wait_for(8)
    assert {name: set(load.errors) for name, load in loads.items()} == {
        "drained": {"503 no healthy upstream"},
        "in-two": set(),
        "all": set(),
    }
    told = {event["name"]: event["drops"] for event in rig.server.events("definition.applied")}
    assert (told["drained"], told["all"]) == ("requests while no new target has passed its first probe", "")


@pytest.mark.feature("Target states", "without active checks replaced targets go at once, and no request fails")
def test_without_active_checks_there_is_no_overlap(rig: Rig, backends: Backends) -> None:
    a, b, *_ = backends
    rig.upstream("plain", target(a), health_checks={"passive": {}})
    rig.serves("plain", a)
    rig.routes("plain")
    with rig.load("plain") as load:
        load.wait_for(20)
        rig.upstream("plain", target(b), health_checks={"passive": {}})
        rig.serves("plain", b)
        load.wait_for(20)
    assert load.failures == 0, load.errors
    assert overlaps(rig, "plain") == []


@pytest.mark.feature("Active health checks", "a target's own probe port is edited under load without a failed request")
def test_editing_the_probe_port_of_a_target(rig: Rig, backends: Backends) -> None:
    a, b, c, d = backends
    before = {"sole": [target(a)], "pair": [target(a), target(b)]}

    def edited(probe: Backend) -> dict[str, list[dict[str, Any]]]:
        return {name: [target(a, health_check={"port": probe.port}), *more] for name, (_, *more) in before.items()}

    for name, targets in before.items():
        rig.upstream(name, *targets, **CHECKED)
        rig.routes(name)
        rig.forwards(name)
    rig.serves("pair", a, b)
    c.delay = d.delay = SLOW  # until the first probe at the new port is answered, Envoy uses the target no more
    with ExitStack() as stack:
        loads: dict[str, Load] = {name: stack.enter_context(rig.load(name, rate=100)) for name in before}
        for probe in (c, d):
            for name, targets in edited(probe).items():
                rig.upstream(name, *targets, **CHECKED)
            rig.envoy.wait_until(lambda p=probe: p.count >= 4, 10, "probes of both upstreams at the new port")
            for name in before:
                loads[name].wait_for(60)
    assert {name: dict(load.errors) for name, load in loads.items()} == {name: {} for name in loads}
    assert min(loads["pair"].backends.values()) > 0, "all of it by both"


@pytest.mark.feature(
    "Addresses and DNS", "a name whose addresses all change at once fails no request, with active checks"
)
def test_all_addresses_of_a_name_at_once(rig: Rig, names: DnsServer) -> None:
    at_once = {"min_ttl": "100ms", "linger": "0s"}
    with backends_at("127.0.0.1", "127.0.0.2") as (a, b):
        names.set("db.test", A=[a.host], ttl=0)
        rig.upstream("named", {"host": "db.test", "port": a.port}, dns=at_once, **CHECKED)
        rig.serves("named", a)
        rig.routes("named")
        b.delay = SLOW
        with rig.load("named") as load:
            load.wait_for(20)
            names.set("db.test", A=[b.host], ttl=0)
            rig.envoy.wait_until(lambda: rig.envoy.endpoints("named").keys() == {a.address, b.address}, 10, "both")
            rig.serves("named", b)
            load.wait_for(8)
    assert load.failures == 0, load.errors
    assert min(load.backends[a.name], load.backends[b.name]) > 0


@pytest.mark.feature(
    "Target states", "all targets are replaced in one edit without a failed request for Envoys that poll, too"
)
def test_all_targets_at_once_for_an_envoy_that_polls(polled: Polled) -> None:
    polled.wait()
    assert polled.load.failures == 0, polled.load.errors
    assert min(polled.load.backends["a"], polled.load.backends["b"]) > 0
