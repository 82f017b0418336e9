"""What must not go wrong when others do: observers, group functions, clients that vanish, HTTP that never ends."""

import asyncio
import json
import logging
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import httpx
import live
import pytest
from coming_and_going import ComingAndGoing, stuck
from live import SOTW, ask, ended, read, request, serving
from scripted_client import Client, cluster, endpoints, listener, names_of, routes, settled, web

from xds_server.testing.server import XdsServerProcess
from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, ROUTES, DiscoveryServer, Event, Resource, Snapshot
from xds_server.xds.delta import DeltaStream
from xds_server.xds.memory import Memory
from xds_server.xds.rest import rest_app
from xds_server.xds.sotw import SotwStream


@pytest.mark.parametrize("kind", [SotwStream, DeltaStream])
def test_S71_an_envoy_that_dropped_what_it_was_sent_unasked_is_answered_when_it_asks(kind: Any) -> None:
    node = ComingAndGoing(kind)
    node.group.publish(Snapshot.of(web("a")))
    client = stuck(node)
    client.sent()
    assert CLUSTER in [answer.type_url for answer in client.sent(after=10)]
    answers = client.ask(CLUSTER)
    assert [names_of(answer) for answer in answers if answer.type_url == CLUSTER] == [["a"]]


def test_S71_D5_one_that_then_asks_for_a_name_gets_that_alone() -> None:
    node = ComingAndGoing(DeltaStream)
    node.group.publish(Snapshot.of(web("a", "b")))
    client = stuck(node)
    client.sent()
    client.sent(after=10)
    client.ask(CLUSTER, "a")
    client.change(cluster("b", 9))
    assert [answer.type_url for answer in client.sent(after=60)].count(CLUSTER) == 0


@pytest.mark.parametrize("kind", [SotwStream, DeltaStream])
def test_S71_S13_nothing_waits_for_the_answer_to_what_was_sent_unasked(kind: Any) -> None:
    node = ComingAndGoing(kind)
    node.group.publish(Snapshot.of(web("a")))
    client = stuck(node)
    for answer in client.sent():
        client.ack(answer, *(() if client.delta else "a"))
    for answer in client.sent(after=10):
        if answer.type_url == ENDPOINTS:
            client.ack(answer, *(() if client.delta else "a"))
    client.change(cluster("a", 9), endpoints("a", 9))
    assert ENDPOINTS in [answer.type_url for answer in client.sent()]


def test_D18_S55_a_listener_that_took_anothers_place_meanwhile_comes_with_its_removal(delta: Client) -> None:
    delta.publish(Snapshot.of([listener("new", 80)]))
    (answer,) = delta.ask(LISTENER, held={"old": "1"})
    assert (names_of(answer), list(answer.removed_resources)) == (["new"], ["old"])


def test_D20_D23_what_was_applied_of_a_rejected_response_and_taken_back_meanwhile_is_sent_again() -> None:
    node = ComingAndGoing(DeltaStream)
    first = node.connect()
    settled(first, *web("a", "b"))
    before = node.group.snapshot
    assert before is not None
    first.change(cluster("a", 2), cluster("b", 2))
    first.nack(first.sent()[0])
    first.stream.close()
    node.group.publish(before)
    second = node.connect()
    claimed = {name: before.get(CLUSTER, name).version for name in "ab"}  # type: ignore[union-attr]
    assert [names_of(answer) for answer in second.ask(CLUSTER, held=claimed)] == [["a", "b"]]


def test_D20_the_same_for_a_response_that_could_not_be_answered() -> None:
    for kind in (SotwStream, DeltaStream):
        node = ComingAndGoing(kind)
        first = node.connect()
        settled(first, *web("a"))
        before = node.group.snapshot
        assert before is not None
        first.change(cluster("a", 2))
        first.sent()
        first.stream.close()
        node.group.publish(before)
        second = node.connect()
        held = {"a": before.get(CLUSTER, "a").version}  # type: ignore[union-attr]
        more = {"held": held} if second.delta else {"version": before.version(CLUSTER)}
        assert [names_of(answer) for answer in second.ask(CLUSTER, **more)] == [["a"]]


def test_S55_D33_each_removal_has_its_own_wait(sotw: Client) -> None:
    settled(sotw, *web("a", "b", "c"), routes("r", "a"))
    sotw.change(remove=((CLUSTER, "c"), (ENDPOINTS, "c")))
    (reduced,) = sotw.sent(after=3)
    sotw.ack(reduced)
    # Another removal comes while the answer is being written: its time begins now, not then.
    sotw.change(routes("r", "a", "x"), remove=((CLUSTER, "b"), (ENDPOINTS, "b")))
    assert [answer.type_url for answer in sotw.sent()] == [ROUTES]
    assert sotw.sent(after=1.5) == []
    assert [names_of(answer) for answer in sotw.sent(after=1)] == [["a"]]


def test_P5_an_answer_that_never_comes_holds_no_bytes(either: Client) -> None:
    either.publish(Snapshot.of([cluster("a")]))
    either.ask(CLUSTER)
    (watch,) = either.stream._watches.values()
    assert [response.payload for response, _ in watch.unanswered._sent.values()] == [b""]


def test_P20_a_rejection_of_nothing_is_not_remembered() -> None:
    memory = Memory()
    for number in range(1_000):
        memory.note(f"n{number}", CLUSTER, ())
    assert len(memory._names) == 0


def test_D7_everything_asked_for_again_is_sent_again(delta: Client) -> None:
    delta.publish(Snapshot.of([cluster("a")]))
    delta.ack(delta.ask(CLUSTER, "*")[0])
    assert [names_of(answer) for answer in delta.ask(CLUSTER, "*")] == [["a"]]


def test_D22_a_version_is_never_empty() -> None:
    with pytest.raises(ValueError, match="the version of 'a' cannot be empty"):
        Resource.encode(CLUSTER, "a", b"", version="")
    with pytest.raises(ValueError, match="a version cannot be empty"):
        Snapshot.of([cluster("a")], versions={CLUSTER: ""})


async def test_an_observer_that_fails_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def observe(event: Event) -> None:
        raise KeyError(event.kind)

    async with serving(observe=observe) as (server, channel):
        server.set_snapshot(Snapshot.of([cluster("a")]))
        assert names_of(await read(await ask(channel))) == ["a"]
        assert [client.node.id for client in server.clients] == ["n"]
    assert "an observer failed on 'opened'" in caplog.text


async def test_P4_an_error_of_the_server_is_told_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    def group_of(node: Any) -> str:
        raise KeyError("secret")

    async with serving(group_of=group_of) as (server, channel):
        server.set_snapshot(Snapshot.of())
        assert await ended(await ask(channel)) == (grpc.StatusCode.INTERNAL, "an error of the server: see its log")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(rest_app(server)), base_url="http://x") as http:
            answer = await http.post("/v3/discovery:clusters", json={"node": {"id": "n"}})
        assert (answer.status_code, "secret" in answer.text) == (500, False)
    assert "secret" in caplog.text


_VANISHING = """
import os, sys, grpc
from live import SOTW, request
channel = grpc.insecure_channel(sys.argv[1], options=[("grpc.http2.lookahead_bytes", 65536)])
call = channel.stream_stream(SOTW)(iter([request()] + [request(version_info=str(n)) for n in range(3)]))
os.write(1, b"asked")
os._exit(0)
"""


async def test_P7_a_client_that_vanishes_while_it_is_written_to_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with serving() as (server, channel):
        server.set_snapshot(Snapshot.of([cluster(f"c{i}") for i in range(20_000)]))
        for _ in range(4):
            call = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _VANISHING, channel.address, cwd=Path(live.__file__).parent
            )
            await call.wait()
        for _ in range(4):
            reader = channel.stream_stream(SOTW)()
            await reader.write(request())
            reader.cancel()
        async with asyncio.timeout(20):
            while server.open_streams:
                await asyncio.sleep(0.01)
    assert [record.getMessage() for record in caplog.records] == []


async def test_a_server_starts_again_after_its_stop_and_only_then() -> None:
    server = DiscoveryServer()
    server.set_snapshot(Snapshot.of([cluster("a")]))
    await server.start()
    with pytest.raises(RuntimeError, match="listening already"):
        await server.start()
    await server.stop(0)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert names_of(await read(await ask(channel))) == ["a"]
    await server.stop(0)


async def test_a_poller_whose_group_was_dropped_and_made_again_is_answered() -> None:
    server = DiscoveryServer(lambda node: "g")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(rest_app(server)), base_url="http://x") as http:
        body = {"node": {"id": "n"}}
        polling = asyncio.create_task(http.post("/v3/discovery:clusters", json=body))
        while "g" not in server.groups:
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        server.set_snapshot(Snapshot.of([cluster("a")]), "g")
        assert (await polling).json()["resources"][0]["name"] == "a"


async def test_a_long_answer_of_one_resource_is_made_off_the_event_loop() -> None:
    server = DiscoveryServer()
    server.set_snapshot(Snapshot.of([routes("r", *(f"c{i}" for i in range(10_000)))]))
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - before)

    watching = asyncio.create_task(watch())
    body = json.dumps({"node": {"id": "n"}, "resource_names": ["r"]})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(rest_app(server)), base_url="http://x") as http:
        began = time.monotonic()
        answers = await asyncio.gather(*(http.post("/v3/discovery:routes", content=body) for _ in range(5)))
        took = time.monotonic() - began
    watching.cancel()
    assert {answer.status_code for answer in answers} == {200}
    assert longest < took * 3 / 4, "it went on meanwhile"


def test_an_http_request_that_never_ends_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("upstreams: []\n", encoding="utf-8")
    with XdsServerProcess(tmp_path) as server:
        host, _, port = server.http_address.rpartition(":")
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(b"POST /v3/discovery:clusters HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            server.wait_until(lambda: True, 1, "")
            assert server.stop(timeout=9) == 0
        assert "Traceback" not in server.log


def test_an_age_that_gRPC_cannot_count_is_the_longest_that_it_can(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("upstreams: []\n", encoding="utf-8")
    with XdsServerProcess(tmp_path, args=["--max-connection-age", "8000h"]) as server:
        assert server.is_running


def test_two_servers_on_one_port_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("upstreams: []\n", encoding="utf-8")
    with XdsServerProcess(tmp_path) as server:
        addresses = {
            "--http-address": server.http_address,
            "--xds-address": server.xds_address,
            "--grpc-address": server.grpc_address,
        }
        for option, address in addresses.items():
            command = [sys.executable, "-m", "xds_server", "serve", "--definitions", tmp_path]
            command += [part for other in addresses for part in (other, "127.0.0.1:0")]
            said = subprocess.run([*command, option, address], capture_output=True, text=True, timeout=30)
            assert said.returncode == 1
            assert f"cannot listen on {address}" in said.stderr
            assert f"choose another one with {option}" in said.stderr
            assert "Traceback" not in said.stderr
        assert server._running().poll() is None
        server._running().send_signal(signal.SIGTERM)


def test_S42_a_client_that_comes_back_for_names_which_are_all_gone_is_told(sotw: Client) -> None:
    sotw.publish(Snapshot.of([cluster("other")]))
    (answer,) = sotw.ask(CLUSTER, "gone", version="of before")
    assert names_of(answer) == []
    assert sotw.ack(answer, "gone") == []


def test_S57_B4_what_was_rejected_gets_its_endpoints_with_the_next_full_set(sotw: Client) -> None:
    settled(sotw, *web("a"))
    sotw.ask(ENDPOINTS, "a", "b", "c")
    sotw.change(*web("b"))
    rejected = next(answer for answer in sotw.sent() if answer.type_url == CLUSTER)
    sotw.nack(rejected)
    sotw.change(*web("c"))
    answers = sotw.sent(after=1.1)
    assert [names_of(answer) for answer in answers] == [["a", "b", "c"], ["b", "c"]], "b may become new with this one"


def test_D11_a_name_that_is_dropped_beside_everything_is_answered_once(delta: Client) -> None:
    settled(delta, *web("a", "b"), routes("r", "a"))
    delta.change(remove=((CLUSTER, "b"),))
    told = delta.ask(CLUSTER, drop=("b",)) + delta.sent(after=5)
    assert [name for answer in told for name in answer.removed_resources] == ["b"]
