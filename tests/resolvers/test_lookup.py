"""One look-up against a real name server: which records count, what holds for how long, and what is a failure."""

import asyncio
from collections.abc import Iterator

import pytest
from dns_server import DnsServer, Fault

from xds_server.resolvers import Answer, Question, SrvAddress, lookup
from xds_server.resolvers.lookup import SystemLookup
from xds_server.resolvers.questions import Source


@pytest.fixture
def names() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


async def ask(names: DnsServer, name: str, **terms: object) -> Answer:
    return await SystemLookup([names.address])(Question(name, **terms))  # type: ignore[arg-type]


async def test_the_hosts_file_is_asked(names: DnsServer) -> None:
    assert await ask(names, "localhost") == Answer(("127.0.0.1",), 0)
    assert not names.queries


async def test_addresses_come_sorted_with_the_shortest_ttl(names: DnsServer) -> None:
    names.set("a.test", A=["10.0.0.2", "10.0.0.1"], AAAA=["fd00::1"], ttl=60)
    names.set("alias.test", CNAME=["a.test."], ttl=7)
    assert await ask(names, "a.test") == Answer(("10.0.0.1", "10.0.0.2"), 60)
    assert await ask(names, "alias.test") == Answer(("10.0.0.1", "10.0.0.2"), 7)


async def test_which_addresses_count(names: DnsServer) -> None:
    names.set("both.test", A=["10.0.0.1"], AAAA=["fd00::1"], ttl=60)
    names.set("six.test", AAAA=["fd00::1"], ttl=60)
    found = {
        (name, family): (await ask(names, f"{name}.test", family=family)).found
        for name in ("both", "six")
        for family in ("v4-preferred", "v6", "all")
    }
    assert found == {
        ("both", "v4-preferred"): ("10.0.0.1",),
        ("both", "v6"): ("fd00::1",),
        ("both", "all"): ("10.0.0.1", "fd00::1"),
        ("six", "v4-preferred"): ("fd00::1",),
        ("six", "v6"): ("fd00::1",),
        ("six", "all"): ("fd00::1",),
    }
    with pytest.raises(OSError, match="no data"):
        await ask(names, "six.test", family="v4")


async def test_half_an_answer_is_not_taken_for_a_name_without_the_other_half(names: DnsServer) -> None:
    names.set("a.test", A=["10.0.0.1"], AAAA=["fd00::1"], ttl=60)
    names.faults["a.test A"] = "SERVFAIL"
    with pytest.raises(OSError, match="general failure"):
        await ask(names, "a.test")
    assert names.queries["a.test", "AAAA"] == 0
    half = await ask(names, "a.test", family="all")
    assert (half.found, half.failed) == (("fd00::1",), {Source("a.test", False)})
    assert "general failure" in half.problem


@pytest.mark.parametrize("fault", ["SERVFAIL", "NXDOMAIN", "REFUSED", "empty", "silent"])
async def test_what_fails_raises(names: DnsServer, fault: Fault) -> None:
    names.set("a.test", A=["10.0.0.1"], SRV=["1 1 80 b.test."])
    names.faults["a.test"] = fault
    results = await asyncio.gather(ask(names, "a.test"), ask(names, "a.test", srv=True), return_exceptions=True)
    assert all(isinstance(result, OSError) for result in results), results


async def test_an_answer_that_is_too_long_for_udp_is_asked_again_over_tcp(names: DnsServer) -> None:
    addresses = [f"10.0.{n}.1" for n in range(200)]
    names.set("many.test", A=addresses, ttl=60)
    assert (await ask(names, "many.test")).found == tuple(sorted(addresses))
    assert names.over_tcp == 1


async def test_srv_records_lead_to_the_addresses_of_their_names(names: DnsServer) -> None:
    names.set("_http._tcp.a.test", SRV=["10 5 8080 One.test.", "20 0 8081 two.test."], ttl=60)
    names.set("one.test", A=["10.0.0.1", "10.0.0.2"], ttl=30)
    names.set("two.test", AAAA=["fd00::1"], ttl=90)
    assert await ask(names, "_http._tcp.a.test", srv=True) == Answer(
        (
            SrvAddress(10, 5, "one.test", "10.0.0.1", 8080),
            SrvAddress(10, 5, "one.test", "10.0.0.2", 8080),
            SrvAddress(20, 0, "two.test", "fd00::1", 8081),
        ),
        30,
    )


async def test_a_name_of_an_srv_record_that_fails_is_told_and_one_that_does_not_exist_is_left_out(
    names: DnsServer,
) -> None:
    names.set("_http._tcp.a.test", SRV=["1 1 80 good.test.", "1 1 80 fails.test.", "1 1 80 nowhere.test."], ttl=60)
    names.set("good.test", A=["10.0.0.1"], ttl=60)
    names.set("fails.test", A=["10.0.0.2"], ttl=60)
    names.faults["fails.test"] = "SERVFAIL"
    answer = await ask(names, "_http._tcp.a.test", srv=True)
    assert answer.found == (SrvAddress(1, 1, "good.test", "10.0.0.1", 80),)
    assert answer.failed == {Source("fails.test", False), Source("fails.test", True)}
    assert "fails.test" in answer.problem
    names.faults["good.test"] = "NXDOMAIN"
    with pytest.raises(OSError, match=r"good\.test"):
        await ask(names, "_http._tcp.a.test", srv=True)


async def test_a_record_for_the_root_says_that_there_is_no_such_service(names: DnsServer) -> None:
    names.set("_http._tcp.a.test", SRV=["0 0 0 ."])
    with pytest.raises(OSError, match="empty"):
        await ask(names, "_http._tcp.a.test", srv=True)


async def test_answers_are_kept_for_their_ttl_but_not_longer_than_the_renewal(
    names: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.set("a.test", A=["10.0.0.1"], ttl=3600)
    system = SystemLookup([names.address])
    await system(Question("a.test"))
    names.set("a.test", A=["10.0.0.2"], ttl=3600)
    assert (await system(Question("a.test"))).found == ("10.0.0.1",)
    assert names.asked("a.test") == 1
    monkeypatch.setattr(system, "_renew_at", 0.0)
    assert (await system(Question("a.test"))).found == ("10.0.0.2",)


@pytest.mark.parametrize("fault", ["empty", "NXDOMAIN"])
async def test_a_denial_is_not_kept(names: DnsServer, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    monkeypatch.setattr(lookup, "RENEWAL_AFTER_DENIAL", 0.0)
    names.set("a.test", A=["10.0.0.1"], ttl=60)
    names.faults["a.test"] = fault
    system = SystemLookup([names.address])
    with pytest.raises(OSError, match=r"no data|not found"):
        await system(Question("a.test"))
    del names.faults["a.test"]
    assert (await system(Question("a.test"))).found == ("10.0.0.1",)


async def test_search_domains_are_those_of_the_machine(names: DnsServer) -> None:
    """c-ares reads them from the environment too, as the C library does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCALDOMAIN", "corp.test")
        names.set("db.corp.test", A=["10.0.0.1"], ttl=60)
        assert (await ask(names, "db")).found == ("10.0.0.1",)
