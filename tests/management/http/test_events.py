"""`/v1/events`: revisions as server-sent events."""

import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from xds_server.catalog.store.records import Attribution, Change, Entry, Revision
from xds_server.catalog.store.store import Store
from xds_server.testing import XdsServerProcess


class Event(NamedTuple):
    """One block of the stream."""

    id: str = ""
    kind: str = ""
    data: Any = None


def events(lines: Iterator[str]) -> Iterator[Event]:
    """The blocks of a stream, as browsers read them."""
    block: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            assert name not in block
            block[name] = value
        else:
            data = json.loads(block["data"]) if "data" in block else None
            yield Event(block.get("id", ""), block.get("event", ""), data)
            block = {}


def follow(api: httpx.Client, last: int, known: int | None = None, **params: int) -> list[Event]:
    """What is told up to a revision."""
    headers = {"Last-Event-ID": str(known)} if known is not None else {}
    with api.stream("GET", "/v1/events", params=params, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"
        found = []
        for event in events(answer.iter_lines()):
            found.append(event)
            if event.id == str(last):
                return found
    raise AssertionError(f"the stream ended: {found}")


def put(api: httpx.Client, name: str, **fields: Any) -> int:
    return int(api.put(f"/v1/upstreams/{name}", json=fields).json()["revision"])


def test_revisions_are_told_as_they_are_committed(api: httpx.Client) -> None:
    with api.stream("GET", "/v1/events") as answer:
        told = events(answer.iter_lines())
        head = int(next(told).id)
        made = put(api, "told", labels={"n": "1"})
        assert made == head + 1
        event = next(told)
    shown = api.get(f"/v1/revisions/{made}").json()
    of_envoys = {name: shown.pop(name) for name in ("delivery", "degraded")}
    assert len(of_envoys) == 2
    assert event == Event(str(made), "revision", {**shown, "change_count": 1})


def test_a_client_goes_on_where_it_was(api: httpx.Client) -> None:
    made = [put(api, "resumed", labels={"n": str(number)}) for number in range(5)]
    begun, *told = follow(api, made[-1], known=made[1])
    assert begun == Event(str(made[1])), "no event, but browsers come back with it"
    assert [(event.id, event.kind, event.data["revision"]) for event in told] == [
        (str(number), "revision", number) for number in made[2:]
    ]
    assert follow(api, made[-1], after=made[1]) == [begun, *told]
    assert follow(api, made[-1], known=made[1], after=0) == [begun, *told], "what browsers say by themselves wins"
    assert len(follow(api, made[-1], after=0)) == made[-1] + 1


def test_where_there_is_nothing_to_go_on_from(api: httpx.Client) -> None:
    never = api.get("/v1/events", params={"after": 99_999})
    assert never.status_code == 404
    assert never.json()["detail"].startswith("there is no revision '99999': the newest is ")
    for nonsense in ("x", "-1", str(2**31)):
        assert api.get("/v1/events", headers={"Last-Event-ID": nonsense}).status_code == 422


def test_the_stop_of_the_server_is_told_and_waits_for_nobody() -> None:
    with XdsServerProcess() as server, httpx.Client(base_url=f"http://{server.http_address}") as api:
        with api.stream("GET", "/v1/events") as one, api.stream("GET", "/v1/events") as two:
            told = [events(one.iter_lines()), events(two.iter_lines())]
            assert [next(each).id for each in told] == ["0", "0"]
            began = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - began < 4
            for each in told:
                (end,) = each
                assert end.kind == "end"
                assert end.data["detail"].startswith("the server stops: go on after revision 0")
        assert "Traceback" not in server.log


def long_past(path: Path, many: int = 20) -> str:
    """A store with revisions whose events are 0.3 MB each: more than any socket takes unread. Nothing of them is in force."""
    store = Store(f"sqlite:///{path}")
    changes = {("upstream", f"{n:03}" + "x" * 240): Change("added", Entry("api", 0, "{}")) for n in range(1_000)}
    for number in range(1, many + 1):
        store.commit(Revision(number, datetime.now(UTC), Attribution("test"), "superseded"), changes)
    store.close()
    return f"sqlite:///{path}"


def slow(address: str) -> socket.socket:
    """A client that has asked for everything, and reads nothing."""
    host, _, port = address.rpartition(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((host, int(port)))
    client.sendall(f"GET /v1/events?after=0 HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
    return client


def rest_of(client: socket.socket) -> str:
    """All that a client still gets."""
    client.settimeout(30)
    parts = []
    while part := client.recv(1 << 20):
        parts.append(part)
    return b"".join(parts).decode()


def test_a_client_that_reads_nothing_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    with XdsServerProcess(store=long_past(tmp_path / "s.db")) as server, slow(server.http_address) as client:
        with httpx.Client(base_url=f"http://{server.http_address}", timeout=60) as api:
            follow(api, 20, after=0)  # another one reads all the same
        began = time.monotonic()
        assert server.stop() == 0
        took = time.monotonic() - began
        assert "event: end" not in rest_of(client), "it was stuck"
        assert 3 < took < 9
        assert "Traceback" not in server.log
