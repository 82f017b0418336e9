"""Settings that once caused outages, each provoked again: what goes on being served, and what does not, which lints tell."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from pydantic import ValidationError
from rig import Rig, target
from translated_envoy import TranslatedEnvoy

from xds_server.testing import Answer, Backend, Backends, send
from xds_server.upstreams.lint import lint
from xds_server.upstreams.model import Upstream

pytestmark = pytest.mark.envoy

ACTIVE = {"path": "/healthz", "interval": "50ms", "timeout": "1s", "healthy_threshold": 1, "unhealthy_threshold": 2}
PASSIVE = {"interval": "50ms", "ejection_time": "60s"}
BOTH = {"active": ACTIVE, "passive": PASSIVE}
AT_ONCE = {"common_lb_config": {"update_merge_window": "0s"}}
BAD_URL = "/status/500"
FRESH = (f"outage-{number}" for number in count())
LISTENERS = ("public", "static")


@pytest.fixture(scope="module")
def envoy() -> Iterator[TranslatedEnvoy]:
    with TranslatedEnvoy() as started:
        yield started


@pytest.fixture
def backends() -> Iterator[Backends]:
    with Backends("a", "b", "c", "d") as started:
        yield started


Serve = Callable[..., str]


@pytest.fixture
def serve(envoy: TranslatedEnvoy, long: dict[str, Any]) -> Serve:
    """Serves one upstream under a name of its own, which is returned, beside the one with the long answers."""

    def one(targets: list[dict[str, Any]], **fields: Any) -> str:
        name = next(FRESH)
        upstream = {"name": name, "targets": targets, "envoy": AT_ONCE, **fields}
        envoy.serve_with_gateways({"upstreams": [long, upstream]})
        return name

    return one


@pytest.fixture(scope="module")
def slow() -> Iterator[Backend]:
    with Backend("slow") as backend:
        yield backend


@pytest.fixture(scope="module")
def long(slow: Backend) -> dict[str, Any]:
    """An upstream whose answer takes longer than Envoy's own limit of 15 s, while the other tests run."""
    return {"name": "long", "targets": [target(slow)]}


class LongAnswers:
    """Requests for such answers under way, through each kind of listener."""

    def __init__(self, envoy: TranslatedEnvoy) -> None:
        self.answers: dict[str, Answer] = {}
        self._threads = [threading.Thread(target=self._ask, args=(envoy, each), daemon=True) for each in LISTENERS]
        for thread in self._threads:
            thread.start()

    def _ask(self, envoy: TranslatedEnvoy, listener: str) -> None:
        with contextlib.suppress(EOFError, OSError):
            self.answers[listener] = envoy.ask("long", "/stream?chunks=33&every=0.5", listener=listener, timeout=60)

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(60)


@pytest.fixture(scope="module", autouse=True)
def long_answers(envoy: TranslatedEnvoy, long: dict[str, Any]) -> LongAnswers:
    envoy.serve_with_gateways({"upstreams": [long]})
    return LongAnswers(envoy)


def ejected(envoy: TranslatedEnvoy, name: str) -> int:
    return list(envoy.envoy.endpoints(name).values()).count("EJECTED")


def codes(**fields: Any) -> list[str]:
    """Lints of an upstream."""
    return [each.code for each in lint([Upstream.model_validate({"name": "u", **fields})])]


@pytest.mark.feature(
    "Passive health checks", "one URL that fails everywhere takes no upstream down, nor an only target"
)
@pytest.mark.parametrize("targets", [1, 2, 3])
@pytest.mark.parametrize("active", [False, True], ids=["passive", "both"])
def test_a_bad_url(envoy: TranslatedEnvoy, backends: Backends, serve: Serve, active: bool, targets: int) -> None:
    given = [target(backend) for backend in backends][:targets]
    name = serve(given, health_checks=BOTH if active else {"passive": PASSIVE})
    most = targets // 2 if active else targets
    assert send(envoy.port("public"), name, 10 * targets, BAD_URL)["503"] == 0
    envoy.envoy.wait_until(lambda: ejected(envoy, name) == most, 10, f"{most} ejections")
    served = send(envoy.port("public"), name, 12 * targets)
    assert sum(served[backend.name] for backend in backends) == 12 * targets, "every other URL is answered"


@pytest.mark.feature(
    "Passive health checks", "where all targets may be ejected, one bad URL takes an upstream down; a lint says so"
)
@pytest.mark.parametrize("how", ["fail", "cap", "override"])
@pytest.mark.feature("Lints", "one-bad-url: where all targets may be ejected, one bad URL takes an upstream down")
def test_a_bad_url_where_all_may_be_ejected(envoy: TranslatedEnvoy, backends: Backends, serve: Serve, how: str) -> None:
    a, b, *_ = backends
    fields: dict[str, Any] = {"targets": [target(a), target(b)], "health_checks": {"passive": PASSIVE}}
    if how == "fail":
        fields["on_all_unhealthy"] = "fail"
    elif how == "cap":
        fields["health_checks"] = {"active": ACTIVE, "passive": {**PASSIVE, "max_ejection_percent": 100}}
    else:
        fields |= {
            "targets": [target(a)],
            "health_checks": {"active": ACTIVE, "passive": {**PASSIVE, "max_ejection_percent": 99}},
        }
        fields["envoy"] = {**AT_ONCE, "outlier_detection": {"always_eject_one_host": True}}
    name = serve(**fields)
    count = len(fields["targets"])
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 12, BAD_URL) and ejected(envoy, name) == count)
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 10) == {"503": 10})
    assert "one-bad-url" in codes(**fields)


@pytest.mark.feature(
    "Localities and failover", "passive checks alone fail over once all targets of a priority are ejected"
)
def test_failover_by_passive_checks_alone(envoy: TranslatedEnvoy, backends: Backends, serve: Serve) -> None:
    a, b, c, _ = backends
    a.status = b.status = 500
    fields = {"targets": [target(a), target(b), target(c, priority=1)], "health_checks": {"passive": PASSIVE}}
    name = serve(**fields)
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 10) == {"c": 10})
    assert codes(**fields) == []


@pytest.mark.feature("Localities and failover", "a max_ejection_percent that keeps failover from ever coming is a lint")
@pytest.mark.feature("Lints", "failover-out-of-reach: a max_ejection_percent keeps failover from ever coming")
def test_failover_out_of_reach(envoy: TranslatedEnvoy, backends: Backends, serve: Serve) -> None:
    a, b, c, _ = backends
    a.status = b.status = 500
    passive = {**PASSIVE, "max_ejection_percent": 50}
    targets = [target(a), target(b), target(c, priority=1)]
    fields = {"targets": targets, "health_checks": {"passive": passive}}
    name = serve(**fields)
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 10) and ejected(envoy, name) == 1)
    assert send(envoy.port("public"), name, 20) == {"500": 20}, "the standby is never used"
    assert codes(**fields) == ["failover-out-of-reach"]


@pytest.mark.feature(
    "Passive health checks", "one of two targets down by probe, the other ejected: 503, or with send-all both"
)
@pytest.mark.parametrize(
    ("more", "outcome", "lints"),
    [({}, {"503": 20}, ["last-target-ejected"]), ({"on_all_unhealthy": "send-all"}, {"a": 10, "b": 10}, [])],
    ids=["fail", "send-all"],
)
@pytest.mark.feature("Lints", "last-target-ejected: one target fails its probes and the other is ejected")
def test_one_target_down_and_the_other_ejected(
    envoy: TranslatedEnvoy, backends: Backends, serve: Serve, more: Any, outcome: dict[str, int], lints: list[str]
) -> None:
    a, b, *_ = backends
    fields = {"targets": [target(a), target(b)], "health_checks": BOTH, **more}
    name = serve(**fields)
    a.healthy = False
    envoy.envoy.wait_for_endpoints(name, {a.address: "FAILED_ACTIVE_HC", b.address: "HEALTHY"})
    assert send(envoy.port("public"), name, 10) == {"b": 10}
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 6, BAD_URL) and ejected(envoy, name) == 1)
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 20) == outcome, 10, str(outcome))
    assert codes(**fields) == lints
    a.healthy = True
    envoy.envoy.wait_for_endpoints(name, {a.address: "HEALTHY", b.address: "EJECTED"})
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 10) == {"a": 10}, 10, "one of them to be back")


@pytest.mark.feature(
    "Passive health checks", "of three targets one down by probe and one ejected, the last serves everything"
)
def test_one_of_three_down_and_one_ejected(envoy: TranslatedEnvoy, backends: Backends, serve: Serve) -> None:
    a, b, c, _ = backends
    name = serve([target(a), target(b), target(c)], health_checks=BOTH)
    a.healthy = False
    envoy.envoy.wait_for_endpoints(name, {a.address: "FAILED_ACTIVE_HC", b.address: "HEALTHY", c.address: "HEALTHY"})
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 20, BAD_URL) and ejected(envoy, name) == 1)
    envoy.envoy.wait_until(
        lambda: send(envoy.port("public"), name, 20) in ({"b": 20}, {"c": 20}), 10, "the last of them"
    )


@pytest.mark.feature(
    "Target states", "send-all sends to failing targets when none is healthy, but to none taken out by hand"
)
def test_send_all_and_what_was_taken_out(envoy: TranslatedEnvoy, backends: Backends, serve: Serve) -> None:
    a, b, c, d = backends
    a.healthy = False
    targets = [target(a), target(b, state="draining"), target(c, weight=0), target(d, state="unhealthy", priority=1)]
    name = serve(targets, health_checks={"active": ACTIVE}, on_all_unhealthy="send-all")
    envoy.envoy.wait_for_endpoints(name, {a.address: "FAILED_ACTIVE_HC"})
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 10) == {"a": 10})
    assert [backend.count for backend in (b, c, d)] == [0, 0, 0]


@pytest.mark.feature("Localities and failover", "without any checks nothing ever fails over, as a lint says")
@pytest.mark.feature("Lints", "failover-without-checks: nothing ever fails over without any health signal")
def test_failover_without_checks(envoy: TranslatedEnvoy, backends: Backends, serve: Serve) -> None:
    a, b, *_ = backends
    fields = {"targets": [target(a), target(b, priority=1)]}
    name = serve(**fields)
    a.close()
    assert send(envoy.port("public"), name, 20) == {"503": 20}
    assert codes(**fields) == ["failover-without-checks"]


@pytest.mark.feature("Localities and failover", "weights share nothing between priorities, as a lint says")
@pytest.mark.feature("Lints", "weights-across-priorities: weights that share nothing")
def test_weights_across_priorities(envoy: TranslatedEnvoy, backends: Backends, serve: Serve) -> None:
    a, b, *_ = backends
    targets = [target(a), target(b, weight=9, priority=1)]
    fields = {"targets": targets, "algorithm": "weighted-round-robin", "health_checks": {"active": ACTIVE}}
    name = serve(**fields)
    envoy.envoy.wait_for_endpoints(name, {a.address: "HEALTHY", b.address: "HEALTHY"})
    assert send(envoy.port("public"), name, 20) == {"a": 20}
    assert codes(**fields) == ["weights-across-priorities"]


@pytest.mark.feature(
    "Localities and failover",
    "proportional with send-all reaches failing targets of more than 100 early, as a lint says",
)
@pytest.mark.feature("Lints", "panic-too-early: send-all reaches failing targets while one is healthy")
def test_panic_too_early(envoy: TranslatedEnvoy, backends: Backends, serve: Serve) -> None:
    a, *_ = backends
    dead = [{"host": f"127.0.1.{number}", "port": a.port} for number in range(1, 105)]
    fields = {"targets": [target(a), *dead], "health_checks": {"active": {**ACTIVE, "interval": "500ms"}}}
    fields |= {"failover": "proportional", "on_all_unhealthy": "send-all"}
    name = serve(**fields)
    envoy.envoy.wait_until(lambda: sorted(envoy.envoy.endpoints(name).values())[-2:] == ["FAILED_ACTIVE_HC", "HEALTHY"])
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), name, 105)["503"] > 90, 10, "requests to failing targets")
    assert codes(**fields) == ["panic-too-early"]


@pytest.mark.feature(
    "Limits, retries and timeouts", "max_pending_requests: 0 with HTTP/1.1 fails every request, as a lint says"
)
@pytest.mark.feature("Lints", "no-pending-requests: with HTTP/1.1 every request fails")
def test_no_pending_requests(envoy: TranslatedEnvoy, backends: Backends, serve: Serve) -> None:
    a, *_ = backends
    fields = {"targets": [target(a)], "limits": {"max_pending_requests": 0}}
    assert send(envoy.port("public"), serve(**fields), 5) == {"503": 5}
    assert codes(**fields) == ["no-pending-requests"]


@pytest.mark.feature("Load balancing", "hash_on means nothing to an algorithm that does not hash, as a lint says")
@pytest.mark.feature("Lints", "hash-on-ignored: the algorithm hashes nothing")
def test_hash_on_ignored(envoy: TranslatedEnvoy, backends: Backends, serve: Serve) -> None:
    a, b, *_ = backends
    fields = {"targets": [target(a), target(b)], "hash_on": [{"path": True}]}
    assert send(envoy.port("public"), serve(**fields), 10, "/same") == {"a": 5, "b": 5}
    assert codes(**fields) == ["hash-on-ignored"]


@pytest.mark.feature("Gateways", "no request reaches the control plane through a listener, and an unknown host is 404")
@pytest.mark.parametrize("listener", LISTENERS)
def test_hosts_that_are_no_upstream(envoy: TranslatedEnvoy, listener: str) -> None:
    for host in (
        "xds-server.internal",
        "XDS-SERVER.INTERNAL",
        "xds-server.internal:80",
        "xds-server.internal.",
        "nobody",
    ):
        assert envoy.ask(host, listener=listener).status == 404, host
    with pytest.raises(ValidationError, match="reserved"):
        Upstream.model_validate({"name": "xds-server.internal"})


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    # State of the world: a delta stream may have several responses of a type unanswered, this one only one.
    with Rig(tmp_path_factory.mktemp("rig"), protocol="sotw") as rig:
        yield rig


@pytest.mark.feature("Active health checks", "an upstream whose probes hang does not hold up the change of another one")
def test_hanging_probes(rig: Rig, backends: Backends) -> None:
    a, b, *_ = backends
    a.delay = 100
    hanging = {"active": {"path": "/probe", "timeout": "60s"}}
    try:
        rig.upstream("hangs", target(a), health_checks=hanging)
        rig.envoy.wait_until(lambda: a.active == 1, 10, "its probe")
        rig.upstream("other", target(b))
        rig.forwards("other")
        assert "hangs" not in rig.envoy.clusters(), "it is still warming"
        rig.upstream("other", target(b), connect_timeout="3s")
        changed = rig.envoy.stat("cluster_manager.cluster_modified")
        rig.envoy.wait_until(lambda: rig.envoy.stat("cluster_manager.cluster_modified") > changed, 10, "its change")
        assert rig.ask("other").backend == "b"
        assert "hangs" not in rig.envoy.clusters()
    finally:
        rig.remove("hangs")


@pytest.mark.feature("Gateways", "a host name that is given twice is refused with its file, and all routes stay")
def test_a_host_name_given_twice(rig: Rig, backends: Backends) -> None:
    a, b, *_ = backends
    rig.upstream("first", target(a), hostnames=["shop.example"])
    rig.routes("shop.example")
    rig.forwards("shop.example")
    refused = len(rig.server.events("definitions.broken"))
    rig.upstream("second", target(b), hostnames=["SHOP.example"])
    rig.server.wait_for_event("definitions.broken", count=refused + 1)
    told = rig.server.events("definitions.broken")[-1]
    assert "'shop.example' is also answered by upstream 'first'" in told["problem"]
    assert told["file"].endswith("second.yaml")
    rig.upstream("third", target(b))
    rig.routes("third")
    assert rig.send("shop.example", 4) == {"a": 4}
    assert rig.server.events("xds.rejected") == [], "Envoy would refuse all routes"
    rig.remove("second")
    rig.server.wait_for_event("definitions.mended")


@pytest.mark.feature(
    "Target states", "a definition that Envoy would refuse keeps its last good state and holds nobody else up"
)
def test_what_envoy_would_refuse(rig: Rig, backends: Backends) -> None:
    a, b, c, _ = backends
    rig.upstream("odd", target(a))
    rig.routes("odd")
    rig.forwards("odd")
    rig.upstream("odd", target(b), envoy={"connect_timeout": "0s"})
    assert rig.server.wait_for_event("definition.refused")["last_good_serves"]
    rig.upstream("good", target(c))
    rig.routes("good")
    rig.forwards("good")
    assert rig.send("odd", 4) == {"a": 4}
    assert rig.server.events("xds.rejected") == []
    rig.remove("odd")


@pytest.mark.feature(
    "Limits, retries and timeouts", "an answer of more than 15 s is not cut, by either kind of listener"
)
def test_an_answer_longer_than_envoys_own_limit(long_answers: LongAnswers) -> None:
    """It has been under way since this file's first test."""
    long_answers.wait()
    statuses = {listener: answer.status for listener, answer in long_answers.answers.items()}
    assert statuses == {"public": 200, "static": 200}
    for answer in long_answers.answers.values():
        assert answer.body.decode().splitlines() == [f"slow {number}" for number in range(33)]
