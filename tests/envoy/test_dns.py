"""Targets by host name through the whole product: a real name server, the control plane, Envoy, and what backends counted."""

import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from dns_server import DnsServer
from one_port import backends_at
from rig import Rig

from xds_server.testing import Backend

pytestmark = pytest.mark.envoy

AT_ONCE = {"min_ttl": "100ms", "linger": "0s"}
"""Every answer counts at once, where its TTL is 0."""


@pytest.fixture(scope="module")
def names() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


@pytest.fixture(scope="module")
def rig(names: DnsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    def ask_them(bootstrap: dict[str, Any]) -> None:
        """Envoy asks them too, where it resolves by itself."""
        kind = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
        server = {"socket_address": {"address": "127.0.0.1", "port_value": names.port}}
        bootstrap["typed_dns_resolver_config"] = {
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {"@type": kind, "resolvers": [server], "filter_unroutable_families": False},
        }

    with Rig(tmp_path_factory.mktemp("rig"), edit=ask_them, args=["--dns-servers", names.address]) as rig:
        yield rig


@pytest.fixture(scope="module")
def backends() -> Iterator[list[Backend]]:
    with backends_at("127.0.0.1", "127.0.0.2", "127.0.0.3") as servers:
        yield servers


@pytest.fixture
def abc(backends: list[Backend]) -> list[Backend]:
    for backend in backends:
        backend.recover()
        backend.reset()
    return backends


def place(host: str, backend: Backend, **more: Any) -> dict[str, Any]:
    return {"host": host, "port": backend.port, **more}


def shares(rig: Rig, upstream: str, n: int) -> Counter[str]:
    rig.routes(upstream)
    return rig.send(upstream, n)


@pytest.mark.feature("Addresses and DNS", "every address of a name gets its share")
def test_a_name_with_several_addresses(rig: Rig, names: DnsServer, abc: list[Backend]) -> None:
    names.set("several.test", A=[backend.host for backend in abc], ttl=60)
    rig.upstream("several", place("several.test", abc[0]))
    rig.serves("several", *abc)
    assert shares(rig, "several", 30) == {backend.name: 10 for backend in abc}


@pytest.mark.feature("Addresses and DNS", "addresses come at once and linger when they leave, and no request fails")
def test_addresses_come_linger_and_go_under_load(rig: Rig, names: DnsServer, abc: list[Backend]) -> None:
    a, b, c = abc
    names.set("moves.test", A=[a.host, b.host], ttl=0)
    rig.upstream("moves", place("moves.test", a), dns={"min_ttl": "100ms", "linger": "2s"})
    rig.serves("moves", a, b)
    rig.routes("moves")
    with rig.load("moves") as load:
        load.wait_for(40)
        names.set("moves.test", A=[b.host, c.host], ttl=0)
        rig.serves("moves", a, b, c)
        load.reset()
        load.wait_for(60)
        assert load.backends[a.name] > 0, "it left the answer and lingers"
        rig.serves("moves", b, c)
        left = names.asked("moves.test")
        load.wait_for(20)
        a.reset()
        load.wait_for(60)
        # All at once, as when a service moves.
        names.set("moves.test", A=[a.host], ttl=0)
        rig.serves("moves", a, b, c)
        rig.serves("moves", a)
        load.wait_for(40)
    assert load.failures == 0, load.errors
    assert left > 5


@pytest.mark.feature(
    "Addresses and DNS", "an address that left the answer stays 5 min unless told, or its TTL if longer"
)
def test_addresses_linger_by_default(rig: Rig, names: DnsServer, abc: list[Backend]) -> None:
    a, b, _ = abc
    names.set("lingers.test", A=[a.host, b.host], ttl=0)
    rig.upstream("lingers", place("lingers.test", a), dns={"min_ttl": "100ms"})
    rig.serves("lingers", a, b)
    names.set("lingers.test", A=[b.host], ttl=0)
    left = names.asked("lingers.test")
    rig.envoy.wait_until(lambda: names.asked("lingers.test") >= left + 10, 20, "10 answers without it")
    rig.serves("lingers", a, b)
    assert shares(rig, "lingers", 20) == {a.name: 10, b.name: 10}


@pytest.mark.feature("Addresses and DNS", "names that came together are not asked for together again")
def test_names_part(rig: Rig, names: DnsServer, abc: list[Backend]) -> None:
    hosts = [f"part-{number}.test" for number in range(30)]
    for host in hosts:
        names.set(host, A=[abc[0].host], ttl=2)
    rig.upstream("parting", *(place(host, abc[0]) for host in hosts), dns={"min_ttl": "100ms"})
    rig.envoy.wait_until(lambda: all(names.asked(host) >= 2 for host in hosts), 20, "a second question for each")
    waited = [again - first for first, again, *_ in (names.asked_at[host, "A"] for host in hosts)]
    # Up to 10 % of the TTL more for each, at random.
    assert max(waited) - min(waited) > 0.1


@pytest.mark.feature("Addresses and DNS", "a name that fails in any way keeps its last good addresses, and recovers")
def test_failures_keep_the_last_good_answer(rig: Rig, names: DnsServer, abc: list[Backend]) -> None:
    a, b, _ = abc
    faults = ("SERVFAIL", "NXDOMAIN", "REFUSED", "empty", "silent")
    hosts = {fault: f"fails-{fault.lower()}.test" for fault in faults}
    upstreams = [fault.lower() for fault in faults]
    for fault, host in hosts.items():
        names.set(host, A=[a.host], ttl=0)
        rig.upstream(fault.lower(), place(host, a), dns=AT_ONCE)
    for upstream in upstreams:
        rig.serves(upstream, a)
        rig.routes(upstream)
    for fault, host in hosts.items():
        names.faults[host] = fault
    rig.server.wait_until(lambda: events(rig, "dns.failed") >= set(hosts.values()), 20, "the failures")
    assert [shares(rig, upstream, 5) for upstream in upstreams] == [{a.name: 5}] * len(faults)
    for host in hosts.values():
        names.set(host, A=[b.host], ttl=0)
    for upstream in upstreams:
        rig.serves(upstream, b)
    assert [shares(rig, upstream, 5) for upstream in upstreams] == [{b.name: 5}] * len(faults)
    assert events(rig, "dns.recovered") >= set(hosts.values())


@pytest.mark.feature("Addresses and DNS", "a name is asked again when its TTL runs out, and not sooner than min_ttl")
def test_the_ttl_says_when_a_name_is_asked_again(rig: Rig, names: DnsServer, abc: list[Backend]) -> None:
    a, b, _ = abc
    for ttl in (0, 2):
        names.set(f"ttl-{ttl}.test", A=[a.host], ttl=ttl)
        rig.upstream(f"ttl-{ttl}", place(f"ttl-{ttl}.test", a), dns=AT_ONCE)
    names.set("floor.test", A=[a.host], ttl=1)
    rig.upstream("floor", place("floor.test", a), dns={"linger": "0s"})
    started = time.monotonic()
    rig.serves("ttl-2", a)
    names.set("ttl-2.test", A=[b.host], ttl=2)
    rig.serves("ttl-2", b)
    rig.envoy.wait_until(lambda: names.asked("ttl-0.test") >= 15, 20, "15 questions")
    took = time.monotonic() - started
    assert 2 <= names.asked("ttl-2.test") <= 2 + took / 2
    assert names.asked("ttl-0.test") <= 2 + took / 0.1
    assert 1 <= names.asked("floor.test") <= 1 + took / 5
    rig.server.wait_until(lambda: "floor.test" in events(rig, "dns.short_ttl"), 10, "the advice")


@pytest.mark.feature("Addresses and DNS", "IPv6 addresses are used where there is no IPv4, or always when asked for")
@pytest.mark.parametrize("resolve", ["control-plane", "envoy"])
def test_families(rig: Rig, names: DnsServer, resolve: str) -> None:
    with backends_at("127.0.0.1", "::1") as (v4, v6):
        names.set("both.test", A=["127.0.0.1"], AAAA=["::1"], ttl=60)
        names.set("six.test", AAAA=["::1"], ttl=60)
        rig.upstream("preferred", place("both.test", v4), resolve=resolve)
        rig.upstream("six", place("six.test", v4), resolve=resolve)
        for family in ("all", "v6", "v4"):
            rig.upstream(f"family-{family}", place("both.test", v4), dns={"family": family}, resolve=resolve)
        expected = {"preferred": (v4,), "six": (v6,), "family-all": (v4, v6), "family-v6": (v6,), "family-v4": (v4,)}
        for upstream, found in expected.items():
            rig.serves(upstream, *found)
            assert shares(rig, upstream, 4) == {backend.name: 4 // len(found) for backend in found}


@pytest.mark.feature("Addresses and DNS", "SRV records give ports, weights and priorities")
def test_srv_records(rig: Rig, names: DnsServer) -> None:
    with Backend("heavy") as heavy, Backend("light") as light, Backend("backup") as backup:
        ports = {"heavy": (10, 3, heavy.port), "light": (10, 1, light.port), "backup": (20, 1, backup.port)}
        for name in ports:
            names.set(f"{name}.node.test", A=["127.0.0.1"], ttl=0)

        def records(*included: str) -> None:
            texts = ["{} {} {} {}.node.test.".format(*ports[name], name) for name in included]
            names.set("_http._tcp.shop.test", SRV=texts, ttl=0)

        records("heavy", "light", "backup")
        checks = {"active": {"path": "/healthz", "interval": "100ms", "timeout": "2s", "unhealthy_threshold": 1}}
        srv = {"host": "_http._tcp.shop.test", "port": "srv"}
        rig.upstream("srv", srv, algorithm="weighted-round-robin", dns=AT_ONCE, health_checks=checks)
        rig.upstream("srv-equal", srv, host_header="target", dns=AT_ONCE)
        rig.serves("srv", heavy, light, backup)
        rig.serves("srv-equal", heavy, light, backup)
        assert shares(rig, "srv", 40) == {"heavy": 30, "light": 10}
        assert shares(rig, "srv-equal", 40) == {"heavy": 20, "light": 20}, "round-robin shares equally"
        assert light.last_host == "light.node.test"
        heavy.fail()
        rig.serves("srv", heavy, light, backup, heavy="FAILED_ACTIVE_HC")
        assert shares(rig, "srv", 10) == {"light": 10}
        light.fail()
        rig.serves("srv", heavy, light, backup, heavy="FAILED_ACTIVE_HC", light="FAILED_ACTIVE_HC")
        assert shares(rig, "srv", 10) == {"backup": 10}
        records("backup", "light")
        light.recover()
        rig.serves("srv", light, backup)
        assert shares(rig, "srv", 10) == {"light": 10}


@pytest.mark.feature("Addresses and DNS", "an address that two names share is one target")
def test_two_names_with_the_same_address_count_once(rig: Rig, names: DnsServer, abc: list[Backend]) -> None:
    a, b, _ = abc
    names.set("one.test", A=[a.host, b.host], ttl=60)
    names.set("other.test", A=[b.host], ttl=60)
    rig.upstream("shared", place("one.test", a), place("other.test", a))
    rig.serves("shared", a, b)
    assert shares(rig, "shared", 20) == {a.name: 10, b.name: 10}


@pytest.mark.feature("Addresses and DNS", "host_header: target sends each target its own name")
@pytest.mark.parametrize("resolve", ["control-plane", "envoy"])
def test_each_target_is_sent_its_own_name(rig: Rig, names: DnsServer, abc: list[Backend], resolve: str) -> None:
    a, b, _ = abc
    names.set("green.test", A=[a.host], ttl=60)
    names.set("blue.test", A=[b.host], ttl=60)
    upstream = f"own-names-{resolve}"
    targets = place("green.test", a), place("blue.test", b)
    rig.upstream(upstream, *targets, host_header="target", resolve=resolve)
    rig.serves(upstream, a, b)
    assert shares(rig, upstream, 20) == {a.name: 10, b.name: 10}
    assert (a.last_host, b.last_host) == ("green.test", "blue.test")


@pytest.mark.feature("Addresses and DNS", "resolve: envoy has each Envoy follow a name by itself")
def test_envoy_resolves(rig: Rig, names: DnsServer, abc: list[Backend]) -> None:
    a, b, c = abc
    names.set("by-envoy.test", A=[a.host, b.host], ttl=1)
    names.set("by-ttl.test", A=[a.host], ttl=1)
    rig.upstream("by-envoy", place("by-envoy.test", a), resolve="envoy")
    rig.upstream("by-ttl", place("by-ttl.test", a), resolve="envoy")
    rig.serves("by-envoy", a, b)
    assert shares(rig, "by-envoy", 20) == {a.name: 10, b.name: 10}
    with rig.load("by-envoy") as load:
        names.set("by-envoy.test", A=[b.host, c.host], ttl=1)
        rig.serves("by-envoy", b, c)
        load.wait_for(20)
        names.faults["by-envoy.test"] = "SERVFAIL"
        before = names.asked("by-envoy.test")
        rig.envoy.wait_until(lambda: names.asked("by-envoy.test") >= before + 2, 20, "failures")
        load.wait_for(40)
    assert load.failures == 0, load.errors
    # Unlike the control plane, it believes a denial.
    names.faults["by-envoy.test"] = "NXDOMAIN"
    rig.serves("by-envoy")
    rig.envoy.wait_until(lambda: names.queries["by-ttl.test", "A"] >= 4, 20, "4 questions")
    asked_at = names.asked_at["by-ttl.test", "A"]
    assert min(again - first for first, again in pairwise(asked_at)) < 4, "left to itself it waits for 5 s each time"
    assert "by-envoy.test" not in events(rig, "dns.failed"), "the control plane does not ask"


@pytest.mark.feature("Addresses and DNS", "dns.logical makes a name one endpoint, for names of cloud load balancers")
def test_a_logical_name_is_one_endpoint(rig: Rig, names: DnsServer, abc: list[Backend]) -> None:
    a, b, _ = abc
    names.set("balancer.test", A=[a.host, b.host], ttl=1)
    rig.upstream("logical", place("balancer.test", a), resolve="envoy", dns={"logical": True})
    rig.routes("logical")
    rig.envoy.wait_until(lambda: len(rig.envoy.endpoints("logical")) == 1, 10, "one endpoint")
    rig.forwards("logical")
    assert len(shares(rig, "logical", 20)) == 1
    with rig.load("logical") as load:
        load.wait_for(20)
        names.set("balancer.test", A=[b.host], ttl=1)
        rig.serves("logical", b)
        names.set("balancer.test", A=[a.host], ttl=1)
        rig.serves("logical", a)
        names.faults["balancer.test"] = "NXDOMAIN"
        before = names.asked("balancer.test")
        rig.envoy.wait_until(lambda: names.asked("balancer.test") >= before + 2, 20, "failures")
        load.wait_for(40)
    assert load.failures == 0, load.errors
    names.set("balancer.test", A=[a.host, b.host], ttl=1)
    rig.upstream("logical", place("balancer.test", a, state="disabled"), resolve="envoy", dns={"logical": True})
    rig.envoy.wait_until(lambda: rig.ask("logical").status == 503, 10, "nowhere to go")
    assert rig.server.events("xds.rejected") == []


@pytest.mark.feature(
    "Addresses and DNS", "a control plane that restarts while DNS is down takes no address from any Envoy"
)
def test_a_restart_while_dns_is_down(rig: Rig, names: DnsServer, abc: list[Backend]) -> None:
    a, b, _ = abc
    names.set("kept.test", A=[a.host], ttl=0)
    names.set("_http._tcp.kept.test", SRV=[f"1 1 {b.port} kept-srv.test."], ttl=0)
    names.set("kept-srv.test", A=[b.host], ttl=0)
    rig.upstream("kept", place("kept.test", a), dns=AT_ONCE)
    rig.upstream("kept-srv", {"host": "_http._tcp.kept.test", "port": "srv"}, dns=AT_ONCE)
    rig.serves("kept", a)
    rig.serves("kept-srv", b)
    rig.routes("kept-srv")
    with rig.load("kept") as load, rig.load("kept-srv") as other:
        names.stop()
        try:
            rig.server.restart()
            rig.server.wait_for_event("xds.opened", 30)
            rig.server.wait_until(
                lambda: events(rig, "dns.failed") >= {"kept.test", "_http._tcp.kept.test"}, 30, "failures"
            )
            rig.server.wait_until(lambda: rig.sent("ClusterLoadAssignment"), 10, "what is known")
            load.wait_for(100)
            other.wait_for(100)
        finally:
            names.resume()
        names.set("kept.test", A=[b.host], ttl=0)
        rig.serves("kept", b)
    assert (load.failures, other.failures) == (0, 0), (load.errors, other.errors)


def events(rig: Rig, name: str) -> set[str]:
    """The names that the control plane has logged an event of."""
    return {event["name"] for event in rig.server.events(name)}
