"""`UpdateTargets`: many updates of targets a second, each of which arrives, or is told."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from management_grpc import TARGET, Api, Refusal, refused
from rig import Rig, target

from xds_server.catalog.catalog import Outcome
from xds_server.catalog.store.records import Attribution
from xds_server.management.grpc.target_updates import UNDER_WAY, Updates
from xds_server.management.v1 import targets_pb2 as pb
from xds_server.testing import Backends, XdsServerProcess

RATE, SECONDS, TARGETS = 500, 4, 40


def update(upstream: str, target: str, message: str = "", **patch: Any) -> pb.UpdateTargetsRequest:
    return pb.UpdateTargetsRequest(upstream=upstream, target=target, patch=pb.TargetPatch(**patch), message=message)


def send(api: Api, updates: Iterable[pb.UpdateTargetsRequest]) -> pb.UpdateTargetsResponse:
    return api.targets.UpdateTargets(iter(updates), timeout=90)  # type: ignore[no-any-return]


def paced(updates: Iterable[pb.UpdateTargetsRequest]) -> Iterator[pb.UpdateTargetsRequest]:
    """Each when it is due."""
    began = time.monotonic()
    for number, each in enumerate(updates):
        time.sleep(max(0.0, began + number / RATE - time.monotonic()))
        yield each


def cpu(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


@pytest.mark.envoy
def test_hundreds_a_second_arrive_and_envoy_has_the_last(tmp_path: Path, record_property: Any) -> None:
    many = [{"host": "127.0.0.1", "port": 20_000 + number} for number in range(TARGETS)]
    with Backends("a", "b") as (a, b), Rig(tmp_path) as rig, Api(rig.server.grpc_address) as api:
        rig.upstream("many", *many, algorithm="weighted-round-robin")
        rig.upstream("busy", target(a), target(b), algorithm="weighted-round-robin")
        rig.serves("busy", a, b)
        rig.envoy.wait_for_cluster("many")
        rig.routes("busy")

        def updates() -> Iterator[pb.UpdateTargetsRequest]:
            for number in range(RATE * SECONDS - 2):
                yield update("many", f"127.0.0.1:{20_000 + number % TARGETS}", "autoscaler", weight=number + 1)
            yield update("busy", a.address, weight=3)
            yield update("busy", b.address, weight=1)

        used, began = cpu(rig.server._running().pid), time.monotonic()
        answer = send(api, paced(updates()))
        took, used = time.monotonic() - began, cpu(rig.server._running().pid) - used
        assert (answer.received, answer.applied, answer.failed) == (RATE * SECONDS, RATE * SECONDS, 0)
        assert 0 < answer.revisions <= took / 0.05 + 2, "those of a moment share a revision"

        last = {20_000 + n % TARGETS: n + 1 for n in range(RATE * SECONDS - 2)}

        def weights() -> dict[int, int]:
            hosts = rig.envoy.clusters()["many"]["host_statuses"]
            return {host["address"]["socket_address"]["port_value"]: host["weight"] for host in hosts}

        rig.envoy.wait_until(lambda: weights() == last, 10, "the last weight of each target")
        rig.envoy.wait_until(
            lambda: [host["weight"] for host in rig.envoy.clusters()["busy"]["host_statuses"]] in ([3, 1], [1, 3]), 10
        )
        served = rig.send("busy", 400)
        assert served["a"] + served["b"] == 400
        assert abs(served["a"] - 300) <= 8
    record_property(
        "measured",
        f"{RATE} updates of targets a second for {SECONDS} s over gRPC, to Envoy: answered after {took:.1f} s, "
        f"{answer.revisions} revisions, {used:.1f} s of processor time",
    )


def test_what_cannot_be_made_is_told_and_hinders_no_other(grpc_api: Api) -> None:
    grpc_api.put("mixed", TARGET, {**TARGET, "port": 81}, algorithm="least-connections")
    good, bad = "10.0.0.1:80", "10.0.0.9:80"
    answer = send(
        grpc_api,
        [
            update("mixed", good, weight=5),
            update("mixed", bad, weight=6),
            update("nowhere", good, state="draining"),
            update("mixed", good, state="away"),
            update("mixed", good, clear=["nothing"]),
            update("mixed", "10.0.0.1:81", state="disabled"),
        ],
    )
    assert (answer.received, answer.applied, answer.failed) == (6, 2, 4)
    told = [(each.index, each.upstream, each.target, each.code) for each in answer.errors]
    assert sorted(told) == [(1, "mixed", bad, 5), (2, "nowhere", good, 5), (3, "mixed", good, 3), (4, "mixed", good, 3)]
    assert "there is no target '10.0.0.9:80' in upstream 'mixed'" in " ".join(each.message for each in answer.errors)
    assert grpc_api.target("mixed", good).weight == 5
    assert grpc_api.target("mixed", "10.0.0.1:81").state == "disabled"


def test_the_first_errors_are_told_and_all_are_counted(grpc_api: Api) -> None:
    answer = send(grpc_api, (update("nowhere", f"10.0.0.1:{port}", weight=1) for port in range(1, 251)))
    assert (answer.received, answer.failed, len(answer.errors)) == (250, 250, 100)
    assert answer.revision == answer.revisions == 0


def test_what_cannot_be_beside_others_takes_none_of_them_with_it(grpc_api: Api) -> None:
    targets = [{**TARGET, "port": port} for port in range(1, 41)]
    grpc_api.put("equal", *targets, algorithm="round-robin")
    grpc_api.put("free", *targets, algorithm="least-connections")
    updates = [update("free", f"10.0.0.1:{port}", weight=7) for port in range(1, 41)]
    updates.insert(20, update("equal", "10.0.0.1:1", weight=2))  # its algorithm has no weights
    answer = send(grpc_api, updates)
    assert (answer.applied, answer.failed) == (40, 1)
    (error,) = answer.errors
    assert (error.index, error.code) == (20, 3)
    assert "weighted-round-robin" in error.message
    assert answer.revisions <= 10, "halves of halves, and not one revision each"


def test_updates_of_one_target_are_made_in_their_order_and_share_revisions(grpc_api: Api) -> None:
    grpc_api.put("single", TARGET)
    answer = send(grpc_api, (update("single", "10.0.0.1:80", weight=number) for number in range(500)))
    assert (answer.applied, answer.failed) == (500, 0)
    assert answer.revisions < 250, "at most one in 50 ms"
    steps = [
        update("single", "10.0.0.1:80", state="draining", drain_until="2100-01-01T00:00:00Z"),
        update("single", "10.0.0.1:80", state="enabled"),  # drain_until has no meaning then
        update("single", "10.0.0.1:80", clear=["drain_until"]),
        update("single", "10.0.0.1:80", state="disabled"),
    ]
    answer = send(grpc_api, steps)
    assert [each.index for each in answer.errors] == [1]
    shown = grpc_api.target("single", "10.0.0.1:80")
    assert (shown.weight, shown.state, shown.override.HasField("drain_until")) == (499, "disabled", False)


def test_the_reason_is_that_of_the_first(grpc_api: Api) -> None:
    grpc_api.put("why", TARGET)
    call = grpc_api.watch()
    next(call)
    send(grpc_api, [update("why", "10.0.0.1:80", "scaled", weight=2), update("why", "10.0.0.1:80", "x", weight=3)])
    assert next(call).committed.message == "scaled"
    refusal = refused(lambda: send(grpc_api, [update("why", "10.0.0.1:80", "x" * 2_001)]))
    assert (refusal.code, *refusal.fields) == ("INVALID_ARGUMENT", "message")


def test_nothing_is_nothing(grpc_api: Api) -> None:
    assert send(grpc_api, []) == pb.UpdateTargetsResponse()
    grpc_api.put("same", TARGET)
    answer = send(grpc_api, [update("same", "10.0.0.1:80", state="enabled")])
    assert (answer.applied, answer.revisions) == (1, 0), "it was so already"
    assert answer.revision > 0


def test_a_stream_does_not_hold_up_the_stop_and_one_that_breaks_off_is_no_error() -> None:
    with XdsServerProcess() as server, Api(server.grpc_address) as api:
        api.put("open", TARGET)
        over = threading.Event()

        def unending(weight: int) -> Iterator[pb.UpdateTargetsRequest]:
            yield update("open", "10.0.0.1:80", weight=weight)
            over.wait(60)

        for weight in (2, 3):
            call = api.targets.UpdateTargets.future(unending(weight))
            server.wait_until(lambda weight=weight: api.target("open", "10.0.0.1:80").weight == weight, 10, "it")
            if weight == 2:
                call.cancel()
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 4
        refusal = refused(call.result)
        over.set()
        assert refusal == Refusal("UNAVAILABLE", "the server stops: send everything again, to another one or later")
        assert "Traceback" not in server.log


async def test_a_client_is_read_no_faster_than_its_updates_are_made() -> None:
    gate = asyncio.Event()

    class Slow:
        async def patch(self, *_: Any) -> Outcome:
            await gate.wait()
            return Outcome(7, None, {})

    class Lasting:
        async def until_ended(self) -> None:
            await asyncio.Event().wait()

    taken = 0

    async def sent() -> AsyncIterator[pb.UpdateTargetsRequest]:
        nonlocal taken
        for _ in range(UNDER_WAY + 500):
            taken += 1
            yield update("u", "t", weight=1)
            await asyncio.sleep(0)

    updates = Updates(Slow(), lambda _: Attribution("test"), Lasting())  # type: ignore[arg-type]
    making = asyncio.create_task(updates.make(sent()))
    while taken < UNDER_WAY:
        await asyncio.sleep(0)
    for _ in range(1_000):
        await asyncio.sleep(0)
    assert taken == UNDER_WAY + 1, "one waits for room"
    gate.set()
    answer = await making
    assert (answer.received, answer.applied, answer.revision) == (UNDER_WAY + 500, UNDER_WAY + 500, 7)
