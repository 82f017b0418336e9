"""`churn`: 500 updates of targets a second over gRPC, and what that does to the streams that hold them.

Each update gives its target a weight of its own, by which its arrival is told from others'. One that the next of the
same target overtakes need not arrive; the last of each must, at every stream that is looked at, and at the end all streams
must hold the same.
"""

import threading
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import grpc

from benchmarks.catalogue import host, name
from benchmarks.figures import Row, milliseconds
from benchmarks.load import LoadError
from benchmarks.served import Served, catalogue, served, stored
from benchmarks.sizes import Size
from benchmarks.usage import Meter, forget_peak, memory, peak_memory
from xds_server.management.v1 import targets_pb2, targets_pb2_grpc

RATE: Final = 500
"""Updates a second."""
TARGETS: Final = 10
CHANGING: Final = 100
"""Upstreams that are changed, so that each target is every two seconds: what lies over targets is there soon, and no memory
grows for that afterwards."""
LOOKED_AT: Final = 10
"""Streams whose arrivals are noted; of the others only what they hold at the end."""
PATIENCE: Final = 30.0
"""Seconds for what is under way to arrive at the end."""


class _Plan(NamedTuple):
    upstreams: int
    streams: tuple[int, ...]
    seconds: int


_PLANS: Final = {
    Size.SMOKE: _Plan(100, (3,), 1),
    Size.SHORT: _Plan(1_000, (10, 100), 20),
    Size.FULL: _Plan(1_000, (10, 100), 60),
}


def churn(size: Size) -> Iterator[Row]:
    """The same updates with few streams and with many."""
    plan = _PLANS[size]
    with stored(catalogue(plan.upstreams, TARGETS)) as store:
        for place, streams in enumerate(plan.streams):
            with served(store) as case:
                # Numbers that no target has from the case before.
                yield measured(case, plan.upstreams, streams, plan.seconds, 2 + place * RATE * plan.seconds)


def measured(case: Served, upstreams: int, streams: int, seconds: int, first: int = 2) -> Row:
    """One case. Raises LoadError where an update was lost."""
    server, _, load = case
    load.open(streams, [name(number) for number in range(upstreams)])
    load.track(min(streams, LOOKED_AT), first)
    sender = _Sender(server.grpc_address, min(upstreams, CHANGING))
    forget_peak(server.pid)
    meter = Meter(server)
    memories = [memory(server.pid)]
    count = RATE * seconds
    watcher = threading.Thread(target=_watch, args=(server.pid, memories, seconds))
    watcher.start()
    sent, done = sender.send(range(first, first + count))
    watcher.join()
    cpu = meter.read()
    if done.failed or done.applied != count:
        raise LoadError(f"{done.applied} of {count} updates were applied")
    last = range(first + count - min(count, min(upstreams, CHANGING) * TARGETS), first + count)
    end = time.monotonic() + PATIENCE
    while _lost(state := load.state(), last) and time.monotonic() < end:
        time.sleep(0.2)
    if (lost := _lost(state, last)) or state["states"] != 1 or state["problems"]:
        raise LoadError(f"{lost} updates were lost; {state['states']} different states; {state['problems']}")
    latencies = [at - sent[number] for arrived in state["arrived"] for number, at in arrived]
    overtaken = count * len(state["arrived"]) - len(latencies)
    half = memories[len(memories) // 2]
    return Row(
        "churn",
        {"upstreams": upstreams, "targets": TARGETS, "streams": streams, "rate": RATE, "seconds": seconds},
        {
            **milliseconds(latencies, "sent_to_ack"),
            "rate_reached": count / (sent[max(sent)] - sent[min(sent)]),
            "revisions": done.revisions,
            "server_cpu_percent": 100 * cpu / seconds,
            "server_mib_at_half": half / 2**20,
            "server_mib_at_end": memories[-1] / 2**20,
            "server_peak_mib": peak_memory(server.pid) / 2**20,
            "overtaken": overtaken,
        },
    )


def _lost(state: dict[str, Any], last: range) -> int:
    """How many of the last updates of each target did not arrive, at all streams that are looked at."""
    return sum(len(set(last) - {number for number, _ in arrived}) for arrived in state["arrived"])


class _Sender:
    """One stream of updates, at a steady rate."""

    def __init__(self, address: str, upstreams: int) -> None:
        self._channel = grpc.insecure_channel(address)
        self._upstreams = upstreams

    def send(self, numbers: range) -> tuple[dict[int, float], targets_pb2.UpdateTargetsResponse]:
        """When each was sent, and what became of them. The targets take turns, and so no update replaces another's."""
        sent: dict[int, float] = {}

        def requests() -> Iterator[targets_pb2.UpdateTargetsRequest]:
            begun = time.monotonic()
            for index, number in enumerate(numbers):
                if (wait := begun + index / RATE - time.monotonic()) > 0:
                    time.sleep(wait)
                at, target = index % self._upstreams, index // self._upstreams % TARGETS
                sent[number] = time.monotonic()
                yield targets_pb2.UpdateTargetsRequest(
                    upstream=name(at),
                    target=f"{host(at, target)}:9",
                    patch=targets_pb2.TargetPatch(weight=number),
                )

        stub = targets_pb2_grpc.TargetServiceStub(self._channel)
        done: targets_pb2.UpdateTargetsResponse = stub.UpdateTargets(requests(), timeout=len(numbers) / RATE + PATIENCE)
        self._channel.close()
        return sent, done


def _watch(pid: int, memories: list[int], seconds: int) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.25)
        memories.append(memory(pid))
