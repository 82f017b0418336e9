"""Plain TCP through a gateway: bytes, ends, shares, limits, failures, and gateways that are edited while in use."""

import contextlib
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from raw_server import RawServer, connect, echo, read_all, read_exactly
from rig import Rig, free_port, target
from translated_envoy import TranslatedEnvoy

from xds_server.testing import Backends, Load

pytestmark = pytest.mark.envoy

SECTION = "Gateways"
NAMES = "abc"


def greet(name: str, connection: socket.socket) -> None:
    """Say who this is, then send back what comes."""
    connection.sendall(name.encode())
    echo(connection)


def answer_at_the_end(connection: socket.socket) -> None:
    """Read everything until the client has no more, and only then send it back."""
    connection.sendall(read_all(connection))


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, RawServer]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(RawServer(partial(greet, name))) for name in NAMES}


@pytest.fixture(scope="module")
def envoy() -> Iterator[TranslatedEnvoy]:
    with TranslatedEnvoy() as started:
        yield started


def serve(envoy: TranslatedEnvoy, name: str, *targets: dict[str, Any], **fields: Any) -> int:
    """One TCP upstream with a gateway of its name; returns the gateway's port."""
    envoy.serve_with_gateways({"upstreams": [{"name": name, "protocol": "tcp", "targets": targets, **fields}]})
    return envoy.port(name)


def greeting(port: int) -> str:
    """Who answers a new connection; empty when it is closed instead."""
    with connect(port) as connection, contextlib.suppress(OSError):
        return connection.recv(1).decode()
    return ""


@pytest.mark.feature(SECTION, "TCP: a client that has no more to send still gets all of a large answer")
def test_half_closed_connections_and_large_transfers(envoy: TranslatedEnvoy) -> None:
    content = os.urandom(16 << 20)
    with RawServer(answer_at_the_end) as server:
        port = serve(envoy, "whole", server.target)
        with connect(port) as connection:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == content


@pytest.mark.feature(SECTION, "TCP: connections are shared by weight, and a draining target keeps the ones it has")
def test_shares_and_drains(envoy: TranslatedEnvoy, servers: dict[str, RawServer]) -> None:
    a, b = servers["a"].target, servers["b"].target
    weighted: dict[str, Any] = {"algorithm": "weighted-round-robin"}
    port = serve(envoy, "shared", a, {**b, "weight": 3}, **weighted)
    assert Counter(greeting(port) for _ in range(40)) == {"a": 10, "b": 30}
    with ExitStack() as stack:
        kept = {}
        while "b" not in kept:
            connection = stack.enter_context(connect(port))
            kept[read_exactly(connection, 1).decode()] = connection
        serve(envoy, "shared", a, {**b, "weight": 3, "state": "draining"}, **weighted)
        envoy.envoy.wait_until(lambda: "DRAINING" in envoy.envoy.endpoints("shared").values(), 10, "the drain")
        assert Counter(greeting(port) for _ in range(8)) == {"a": 8}
        kept["b"].sendall(b"still there")
        assert read_exactly(kept["b"], 11) == b"still there"


@pytest.mark.feature(SECTION, "TCP: a connection that one target refuses is taken by another")
def test_a_target_that_refuses_is_passed_over(envoy: TranslatedEnvoy, servers: dict[str, RawServer]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        refusing = {"host": "127.0.0.1", "port": closed.getsockname()[1]}
        port = serve(envoy, "refusing", refusing, servers["a"].target)
        assert Counter(greeting(port) for _ in range(10)) == {"a": 10}
        preferred = {"targets": [refusing, {**servers["b"].target, "priority": 1}]}
        passive = {"passive": {"consecutive_errors": 1, "max_ejection_percent": 100}}
        port = serve(envoy, "failing-over", *preferred["targets"], health_checks=passive)
        envoy.envoy.wait_until(lambda: greeting(port) == "b", 10, "the next priority")
        assert Counter(greeting(port) for _ in range(5)) == {"b": 5}


@pytest.mark.feature(SECTION, "TCP: connections over max_connections are closed at once, the others go on")
def test_connections_over_the_limit_are_closed(envoy: TranslatedEnvoy, servers: dict[str, RawServer]) -> None:
    port = serve(envoy, "limited", servers["a"].target, limits={"max_connections": 1})
    with connect(port) as first:
        assert read_exactly(first, 1) == b"a"
        assert [greeting(port) for _ in range(3)] == [""] * 3
        first.sendall(b"on")
        assert read_exactly(first, 2) == b"on"
    envoy.envoy.wait_until(lambda: greeting(port) == "a", 10, "room for another one")


@pytest.mark.feature(SECTION, "TCP: a silent connection is closed after idle_timeout, one that is used is not")
def test_silent_connections_are_closed(envoy: TranslatedEnvoy, servers: dict[str, RawServer]) -> None:
    options: dict[str, dict[str, Any]] = {
        "brief": {"idle_timeout": "1s"},
        "long": {},
        "single": {"connect_attempts": 1},
    }
    # Not port 0: Envoy's sockets share ports, so that the system may give two new listeners the same one.
    gateways = [
        {"name": name, "address": "127.0.0.1", "port": free_port(), "upstream": "db", **fields}
        for name, fields in options.items()
    ]
    upstream = {"name": "db", "protocol": "tcp", "targets": [servers["a"].target]}
    envoy.serve({"upstreams": [upstream], "gateways": gateways})
    with connect(envoy.port("brief")) as brief, connect(envoy.port("long")) as long:
        assert read_exactly(brief, 1) == read_exactly(long, 1) == b"a"
        for _ in range(3):
            brief.sendall(b"x")
            assert read_exactly(brief, 1) == b"x"
        assert brief.recv(1) == b"", "closed, and not because the client waited too long for it"
        long.sendall(b"y")
        assert read_exactly(long, 1) == b"y"
    # One try and no more, where that is asked for.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refusing = {"host": "127.0.0.1", "port": closed.getsockname()[1]}
        both = {**upstream, "targets": [servers["a"].target, refusing]}
        envoy.serve({"upstreams": [both], "gateways": gateways})
        envoy.envoy.wait_until(lambda: len(envoy.envoy.endpoints("db")) == 2, 10, "both targets")
        assert {greeting(envoy.port("single")) for _ in range(6)} == {"a", ""}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("rig")) as rig:
        yield rig


@pytest.fixture
def move(rig: Rig) -> Iterator[tuple[int, Callable[[str | None], None]]]:
    """A TCP gateway's port, and what sends it to an upstream, or takes it away."""
    port = free_port()
    public = {"name": "public", "address": "127.0.0.1", "port": rig.port}
    moved = {"name": "moved", "address": "127.0.0.1", "port": port}

    def to(upstream: str | None) -> None:
        more = [] if upstream is None else [{**moved, "upstream": upstream}]
        rig.write("gateways", gateways=[public, *more])

    yield port, to
    to(None)
    rig.envoy.wait_until(lambda: not _listens(rig, "moved"), 10, "the end of the gateway")


def _listens(rig: Rig, name: str) -> bool:
    try:
        return bool(rig.envoy.listener_port(name))
    except KeyError:
        return False


NEW_EACH_TIME = {"connection": "close"}
"""A connection for each request."""


@pytest.mark.feature(SECTION, "a TCP gateway is moved to another upstream under load; no connection fails")
def test_a_gateway_is_moved_under_load(rig: Rig, move: tuple[int, Callable[[str | None], None]]) -> None:
    port, to = move
    with Backends("a", "b") as backends:
        for name in "ab":
            rig.upstream(f"behind-{name}", target(backends[name]), protocol="tcp")
        to("behind-a")
        rig.envoy.wait_until(lambda: _listens(rig, "moved"), 10, "the gateway")
        with Load(port, "any", headers=NEW_EACH_TIME) as load:
            load.wait_for(40)
            to("behind-b")
            rig.envoy.wait_until(lambda: backends["b"].count > 0, 10, "connections to the other upstream")
            load.wait_for(20)
            before = load.backends.copy()
            load.wait_for(60)
        assert load.failures == 0, load.errors
        assert (load.backends - before).keys() == {"b"}


@pytest.mark.feature(
    SECTION, "a gateway in a file may forward to an upstream of the API, which it keeps from being deleted"
)
def test_a_gateway_of_a_file_and_an_upstream_of_the_api(
    rig: Rig, move: tuple[int, Callable[[str | None], None]], servers: dict[str, RawServer]
) -> None:
    port, to = move
    path = "/v1/upstreams/of-the-api"
    with httpx.Client(base_url=f"http://{rig.server.http_address}", timeout=30) as api:
        told = len(rig.server.events("definition.left_out"))
        to("of-the-api")
        rig.server.wait_for_event("definition.left_out", 10, told + 1)
        definition = {"protocol": "tcp", "targets": [servers["a"].target]}
        api.put(path, json=definition).raise_for_status()
        rig.envoy.wait_until(lambda: _listens(rig, "moved"), 10, "the gateway")
        rig.envoy.wait_until(lambda: greeting(port) == "a", 10, "a connection")
        refused = api.delete(path)
        assert refused.status_code == 409
        assert f"gateway 'moved' of {rig.directory}" in refused.json()["detail"]
        pruned = api.post("/v1/apply?prune=true", json={"upstreams": []})
        assert (pruned.status_code, "is still needed" in pruned.text) == (409, True)
        first = api.get("/v1/revisions?limit=1000").json()["revisions"][-1]["revision"]
        assert greeting(port) == "a"
        assert api.post(f"/v1/revisions/{first}/rollback").status_code == 409
        to(None)
        rig.envoy.wait_until(lambda: not _listens(rig, "moved"), 10, "the end of the gateway")
        assert api.delete(path).is_success


@pytest.mark.feature(
    SECTION, "an upstream that is removed under its TCP gateway goes on serving, until the gateway goes too"
)
def test_an_upstream_is_removed_under_its_gateway(
    rig: Rig, move: tuple[int, Callable[[str | None], None]], tmp_path: Path
) -> None:
    port, to = move
    with Backends("a") as backends:
        rig.upstream("removed", target(backends["a"]), protocol="tcp")
        to("removed")
        rig.envoy.wait_until(lambda: _listens(rig, "moved"), 10, "the gateway")
        told = len(rig.server.events("definition.left_out"))
        with Load(port, "any", headers=NEW_EACH_TIME) as load:
            load.wait_for(20)
            rig.remove("removed")
            left_out = rig.server.wait_for_event("definition.left_out", 10, told + 1)
            assert left_out["name"] == "removed"
            assert "gateway 'moved' of" in left_out["problem"]
            load.wait_for(40)
        assert load.failures == 0, load.errors
        to(None)
        rig.envoy.wait_until(lambda: not _listens(rig, "moved"), 10, "the end of the gateway")
        rig.envoy.wait_until(lambda: "removed" not in rig.envoy.clusters(), 10, "the end of the upstream")
