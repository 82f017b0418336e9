"""What a target gets in each of its states, whatever checks there are, and what becomes of requests that it is answering."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rig import Rig, target
from streams import Stream

from xds_server.testing import Backends

pytestmark = pytest.mark.envoy

ACTIVE = {"path": "/healthz", "interval": "50ms", "timeout": "1s", "healthy_threshold": 1}
PASSIVE = {"interval": "50ms", "ejection_time": "60s"}
CHECKS: dict[str, dict[str, Any]] = {
    "none": {},
    "active": {"active": ACTIVE},
    "passive": {"passive": PASSIVE},
    "both": {"active": ACTIVE, "passive": PASSIVE},
}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("rig")) as rig:
        yield rig


@pytest.fixture
def backends() -> Iterator[Backends]:
    with Backends("a", "b", "c", "d", "e") as servers:
        yield servers


def put(rig: Rig, prefix: str, *targets: dict[str, Any]) -> list[str]:
    """One upstream for each kind of checks, all in one change; their names."""
    rig.write(prefix, upstreams=[upstream(f"{prefix}-{kind}", kind, *targets) for kind in CHECKS])
    return [f"{prefix}-{kind}" for kind in CHECKS]


def upstream(name: str, kind: str, *targets: dict[str, Any]) -> dict[str, Any]:
    override = {"common_lb_config": {"update_merge_window": "0s"}}
    return {"name": name, "targets": [*targets], "health_checks": CHECKS[kind], "envoy": override}


@pytest.mark.feature(
    "Target states", "only enabled targets get requests: not unhealthy, draining, disabled or of weight 0"
)
def test_each_state(rig: Rig, backends: Backends) -> None:
    a, b, c, d, e = backends
    out = [target(b, state="unhealthy"), target(c, state="draining"), target(d, state="disabled"), target(e, weight=0)]
    names = put(rig, "state", target(a), *out)
    for name in names:
        passive = name.endswith("-passive")
        rig.serves(name, a, *(() if passive else (b, c, e)), b="UNHEALTHY", c="DRAINING", e="DRAINING")
        rig.routes(name)
        assert rig.send(name, 12) == {"a": 12}, name
    rig.envoy.wait_until(lambda: b.probes >= 4, 10, "probes of the target that is unhealthy by hand, all of which pass")
    assert rig.send("state-active", 12) == {"a": 12}
    assert [backend.count for backend in (b, c, d, e)] == [0, 0, 0, 0]


@pytest.mark.feature("Target states", "when every target is taken out by hand, requests get 503: also with send-all")
def test_nothing_but_targets_that_were_taken_out(rig: Rig, backends: Backends) -> None:
    a, b, c, d, _ = backends
    out = [target(a, state="unhealthy"), target(b, state="draining"), target(c, state="disabled"), target(d, weight=0)]
    names = put(rig, "out", *out)
    for fields in ({}, {"on_all_unhealthy": "send-all", "failover": "proportional"}):
        for kind in ("none", "active"):
            name = f"out-{kind}-{len(fields)}"
            rig.write(name, upstreams=[{**upstream(name, kind, *out), **fields}])
            names.append(name)
    for name in names:
        rig.envoy.wait_for_cluster(name)
        rig.routes(name)
        assert rig.send(name, 6) == {"503": 6}, name
    assert [backend.count for backend in backends] == [0] * 5


@pytest.mark.feature("Target states", "a target goes through all states and back while requests flow, and none fails")
def test_through_all_states(rig: Rig, backends: Backends) -> None:
    a, b, *_ = backends
    names = put(rig, "cycle", target(a), target(b))
    for name in names:
        rig.serves(name, a, b)
        rig.routes(name)
    with ExitStack() as stack:
        loads = {name: stack.enter_context(rig.load(name, rate=100)) for name in names}
        for state, shown in (("draining", "DRAINING"), ("disabled", ""), ("unhealthy", "UNHEALTHY")):
            put(rig, "cycle", target(a, state=state), target(b))
            for name in names:
                there = (a, b) if shown and not name.endswith("-passive") else (b,)
                rig.serves(name, *there, a=shown)
            for load in loads.values():
                load.wait_for(4)  # one for each connection, that may have been on its way
            a.reset()
            for load in loads.values():
                load.wait_for(10)
            assert a.count == 0, state
            put(rig, "cycle", target(a), target(b))
            for name in names:
                rig.serves(name, a, b)
            for load in loads.values():
                load.reset()
            for load in loads.values():
                rig.envoy.wait_until(lambda load=load: load.backends["a"] > 0, 10, f"requests for a after {state}")
    assert {name: dict(load.errors) for name, load in loads.items()} == {name: {} for name in loads}


@pytest.mark.feature(
    "Target states", "a target that was unhealthy by hand is used again at once, without waiting for a probe"
)
def test_unhealthy_by_hand_returns_at_once(rig: Rig, backends: Backends) -> None:
    a, b, *_ = backends
    # Had it to wait for a probe, it would have to wait for a minute.
    checks = {"active": {**ACTIVE, "interval": "60s"}}
    rig.upstream("returns", target(a, state="unhealthy"), target(b), health_checks=checks)
    rig.serves("returns", a, b, a="UNHEALTHY")
    rig.routes("returns")
    rig.envoy.wait_until(lambda: a.probes == 1, 10, "its first probe")
    assert rig.send("returns", 6) == {"b": 6}
    rig.upstream("returns", target(a), target(b), health_checks=checks)
    rig.serves("returns", a, b)
    assert rig.send("returns", 6) == {"a": 3, "b": 3}
    assert a.probes == 1


GOING: dict[str, dict[str, Any] | None] = {
    "draining": {"state": "draining"},
    "disabled": {"state": "disabled"},
    "unhealthy": {"state": "unhealthy"},
    "weight-0": {"weight": 0},
    "removed": None,
}


@pytest.mark.feature(
    "Target states", "a target that drains, or is taken out in any way, finishes a long streaming answer"
)
def test_streams_are_finished(rig: Rig) -> None:
    """All ways and all checks at once; and in the middle other targets change too."""
    ways = [(way, kind) for way in GOING for kind in ("none", "both")]
    with Backends(*(f"{way}-{kind}" for way, kind in ways), "other", "third") as backends:
        other, third = backends["other"], backends["third"]

        def write(step: int) -> None:
            made = []
            for way, kind in ways:
                mine, name = backends[f"{way}-{kind}"], f"stream-{way}-{kind}"
                gone = GOING[way]
                first = [] if step and gone is None else [target(mine, **(gone if step and gone else {}))]
                others = [
                    [],
                    [target(other), target(third)],
                    [target(other, weight=3), target(third, state="disabled")],
                ]
                made.append(upstream(name, kind, *first, *others[step]) | {"algorithm": "least-connections"})
            rig.write("streams", upstreams=made)

        write(0)
        for way, kind in ways:
            rig.routes(f"stream-{way}-{kind}")
            rig.forwards(f"stream-{way}-{kind}")
        streams = [Stream(rig, f"stream-{way}-{kind}", backends[f"{way}-{kind}"]) for way, kind in ways]
        write(1)
        for stream in streams:
            rig.envoy.wait_until(lambda s=stream: third.address in rig.envoy.endpoints(s.host), 10, stream.host)
        write(2)
        for stream in streams:
            rig.envoy.wait_until(lambda s=stream: third.address not in rig.envoy.endpoints(s.host), 10, stream.host)
        # With active checks it stays for a moment when all targets are replaced.
        removed = backends["removed-both"].address
        rig.envoy.wait_until(lambda: removed not in rig.envoy.endpoints("stream-removed-both"), 10, "its removal")
        rig.envoy.wait_until(lambda: all(rig.send(s.host, 1)["other"] for s in streams), 10, "the other target")
        for stream in streams:
            stream.backend.reset()
            assert rig.send(stream.host, 5) == {"other": 5}, "nothing new where a stream runs"
        for stream in streams:
            stream.end()
            assert stream.backend.count == 0


@pytest.mark.feature("Target states", "a drain ends at its deadline by itself, and the stream that runs is finished")
def test_a_drain_with_a_deadline(rig: Rig, backends: Backends) -> None:
    a, b, *_ = backends
    rig.upstream("deadline", target(a))
    rig.serves("deadline", a)
    rig.routes("deadline")
    stream = Stream(rig, "deadline", a)
    far = datetime.now(UTC) + timedelta(hours=1)
    rig.upstream("deadline", target(a, state="draining", drain_until=far.isoformat()), target(b))
    rig.serves("deadline", a, b, a="DRAINING")
    edits = len(rig.server.events("definitions.loaded")) + 1
    deadline = datetime.now(UTC) + timedelta(seconds=2)
    rig.upstream("deadline", target(a, state="draining", drain_until=deadline.isoformat()), target(b))
    rig.serves("deadline", b)
    assert datetime.now(UTC) >= deadline
    assert len(rig.server.events("definitions.loaded")) == edits, "nobody edited anything"
    assert [event["name"] for event in rig.server.events("drain.ended")] == ["deadline"]
    a.reset()
    assert rig.send("deadline", 5) == {"b": 5}
    stream.end()
    assert a.count == 0
