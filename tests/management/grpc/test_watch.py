"""`Watch`: revisions as they are committed, without a gap, from any that is kept on, for readers of any speed."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from management_grpc import TARGET, Api, Refusal, refusal, refused

from xds_server.management.v1 import revisions_pb2
from xds_server.testing import XdsServerProcess

SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1_024))
"""Of a client that takes little before it is read."""


def following(api: Api, after: int | None = None) -> tuple[Any, int]:
    """A call whose first message has come, which says after which revision it begins."""
    call = api.watch(after)
    first = next(call)
    assert not first.HasField("committed")
    return call, first.revision


def read(call: Any, last: int) -> list[revisions_pb2.Revision]:
    """What is told up to a revision."""
    found = []
    for answer in call:
        assert answer.revision == answer.committed.revision
        found.append(answer.committed)
        if answer.revision >= last:
            return found
    raise AssertionError(f"the stream ended after {len(found)} revisions")


def end_of(call: Any) -> tuple[list[int], Refusal]:
    """What is still told, and how it ends."""
    seen: list[int] = []
    with pytest.raises(grpc.RpcError) as error:
        seen.extend(answer.revision for answer in call)
    return seen, refusal(error.value)


@pytest.fixture
def own() -> Iterator[tuple[XdsServerProcess, Api]]:
    """A server of one test's own."""
    with XdsServerProcess() as server, Api(server.grpc_address) as api:
        yield server, api


def test_a_revision_is_told_with_what_it_changed(grpc_api: Api) -> None:
    call, head = following(grpc_api)
    grpc_api.apply({"name": "told-a", "targets": [TARGET]}, {"name": "told-b"}, message="both")
    grpc_api.patch("told-a", "10.0.0.1:80", state="draining")
    one, two = read(call, head + 2)
    assert (one.revision, one.author, one.message, one.source, one.state) == (
        head + 1,
        "local",
        "both",
        "api",
        "applied",
    )
    assert one.client == "127.0.0.1"
    assert abs(one.time.seconds - time.time()) < 60
    assert [(each.kind, each.name, each.action) for each in one.changes] == [
        ("upstream", "told-a", "added"),
        ("upstream", "told-b", "added"),
    ]
    assert [(each.kind, each.name, each.action) for each in two.changes] == [
        ("override", "told-a/10.0.0.1:80", "added")
    ]


def test_a_reader_goes_on_where_it_was(grpc_api: Api) -> None:
    made = [grpc_api.put("resumed", labels={"n": str(number)}).revision for number in range(30)]
    call, after = following(grpc_api, made[3])
    assert after == made[3]
    assert [each.revision for each in read(call, made[-1])] == made[4:]
    everything, after = following(grpc_api, 0)
    assert after == 0
    told = read(everything, made[-1])
    assert [each.revision for each in told] == list(range(1, made[-1] + 1))
    newest = grpc_api.revisions.Get(revisions_pb2.GetRevisionRequest(revision=made[-1]))
    newest.ClearField("delivery")  # of which a commit knows nothing yet
    assert told[-1] == newest


def test_nothing_is_missed_or_told_twice_while_others_write(server: XdsServerProcess, grpc_api: Api) -> None:
    began = grpc_api.put("busy", labels={"n": "0"}).revision
    writers, each = 3, 40

    def write(writer: int) -> None:
        with Api(server.grpc_address) as api:
            for number in range(each):
                api.put(f"busy-{writer}", labels={"n": str(number)})

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    last = began + writers * each
    # Readers that come while it happens: from what is kept in memory, and from the store.
    calls = [following(grpc_api, began)[0] for _ in range(3)] + [following(grpc_api, 0)[0]]
    told = [[revision.revision for revision in read(call, last)] for call in calls]
    for thread in threads:
        thread.join()
    assert told[:3] == [list(range(began + 1, last + 1))] * 3
    assert told[3] == list(range(1, last + 1))


def test_a_held_revision_is_told_as_such(own: tuple[XdsServerProcess, Api]) -> None:
    _, api = own
    api.apply(*({"name": f"u{number}"} for number in range(12)))
    call, head = following(api)
    api.apply({"name": "u0"}, prune=True)
    api.revisions.Confirm(revisions_pb2.ConfirmRequest(revision=head + 1))
    held, confirmed = read(call, head + 2)
    assert (held.state, confirmed.state, confirmed.refers_to) == ("held", "applied", head + 1)
    assert "would remove 11 of 12 upstreams" in held.note


def test_very_many_changes_are_counted_and_the_first_are_named(own: tuple[XdsServerProcess, Api]) -> None:
    server, api = own
    call, _ = following(api)
    api.apply(*({"name": f"u{number:04}"} for number in reversed(range(1_500))))
    kept_here = next(call)
    server.restart()
    with Api(server.grpc_address) as again:
        from_the_store = next(following(again, 0)[0])
    for answer in (kept_here, from_the_store):
        assert answer.change_count == 1_500
        assert [each.name for each in answer.committed.changes] == [f"u{number:04}" for number in range(1_000)]


def test_a_reader_goes_on_after_a_restart(own: tuple[XdsServerProcess, Api]) -> None:
    server, api = own
    for number in range(50):
        api.put("before", labels={"n": str(number)})
    server.restart()
    with Api(server.grpc_address) as again:
        call, _ = following(again, 20)
        again.put("after")
        assert [each.revision for each in read(call, 51)] == list(range(21, 52))


def test_the_stop_of_the_server_is_told(own: tuple[XdsServerProcess, Api]) -> None:
    server, api = own
    api.put("last")
    calls = [following(api)[0] for _ in range(3)]
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 4, "nobody was waited for"
    for call in calls:
        seen, how = end_of(call)
        assert (seen, how.code) == ([], "UNAVAILABLE")
        assert how.message == "the server stops: go on after revision 1 at another one, or later"


def test_what_is_not_kept_any_more_and_what_never_was(tmp_path: Path) -> None:
    with XdsServerProcess(store=f"sqlite:///{tmp_path}/s.db", args=["--keep-revisions", "5"]) as server:
        with Api(server.grpc_address) as api:
            for number in range(20):
                api.put("kept", labels={"n": str(number)})
            never = refused(lambda: next(api.watch(99)))
            assert never == Refusal("NOT_FOUND", "there is no revision '99': the newest is 20")
        server.restart()  # which forgets what it need not keep
        with Api(server.grpc_address) as api:
            api.put("kept")
            with sqlite3.connect(tmp_path / "s.db") as database:
                server.wait_until(
                    lambda: database.execute("SELECT min(number) FROM revisions").fetchone()[0] > 10,
                    20,
                    "a shorter past",
                )
            gone = refused(lambda: next(api.watch(3)))
            assert (gone.code, gone.message[:26]) == ("NOT_FOUND", "there is no revision '4': ")
            assert gone.message.endswith("to 21 are kept")


def test_a_reader_that_falls_behind_is_told_and_ended_and_goes_on_where_it_was(
    own: tuple[XdsServerProcess, Api],
) -> None:
    message, last = "m" * 2_000, 1_200
    server, api = own
    with ThreadPoolExecutor(1) as pool, Api(server.grpc_address, SMALL_WINDOW) as reader:
        slow, _ = following(reader)
        quick = pool.submit(read, following(api)[0], last)
        for number in range(last):
            api.put("slow", labels={"n": str(number)}, message=message)
        assert [each.revision for each in quick.result(60)] == list(range(1, last + 1)), "nobody else is hurt"
        seen, how = end_of(slow)
        assert how.code == "RESOURCE_EXHAUSTED"
        assert how.message.endswith(f"go on after revision {seen[-1]}, and read faster")
        assert seen == list(range(1, seen[-1] + 1)), "what it was told before has no gap"
        assert len(seen) < 200, "it was not read ahead of it"
        again, _ = following(reader, seen[-1])
        assert [each.revision for each in read(again, last)] == list(range(seen[-1] + 1, last + 1))


def test_who_is_far_behind_is_not_ended_for_that(own: tuple[XdsServerProcess, Api]) -> None:
    _, api = own
    for number in range(1_100):
        last = api.put("far", labels={"n": str(number)}).revision
    call, _ = following(api, 0)
    for _ in range(50):
        last = api.put("far", labels={"n": "more"}).revision
    assert len(read(call, last)) == last


def test_who_leaves_is_forgotten(grpc_api: Api, server: XdsServerProcess) -> None:
    calls = [following(grpc_api)[0] for _ in range(20)]
    for call in calls:
        call.cancel()
    assert grpc_api.put("left").changed
    assert "Traceback" not in server.log
