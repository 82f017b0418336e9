"""What lints say is what happens, through one Envoy and through two. More of them: `test_surprises`, `test_limits`."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest
from at_once import at_once, statuses
from rig import target
from translated_envoy import TranslatedEnvoy

from xds_server.testing import Backends, send
from xds_server.upstreams import lint as lints
from xds_server.upstreams.model import Upstream

pytestmark = pytest.mark.envoy

AT_ONCE = {"common_lb_config": {"update_merge_window": "0s"}}
PASSIVE = {"consecutive_errors": 2, "interval": "50ms", "ejection_time": "60s"}
PROBES = {"path": "/healthz", "interval": "50ms", "interval_jitter_percent": 0, "unhealthy_threshold": 1}
FRESH = (f"linted-{number}" for number in count())


@pytest.fixture(scope="module")
def envoys() -> Iterator[list[TranslatedEnvoy]]:
    """Two, so that there is a fleet."""
    with ExitStack() as stack:
        yield [stack.enter_context(TranslatedEnvoy()) for _ in range(2)]


@pytest.fixture
def envoy(envoys: list[TranslatedEnvoy]) -> TranslatedEnvoy:
    return envoys[0]


@pytest.fixture
def backends() -> Iterator[Backends]:
    with Backends("a", "b", "c") as started:
        yield started


def define(*targets: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": next(FRESH), "targets": targets, "envoy": AT_ONCE, **fields}


def serve(envoy: TranslatedEnvoy, *upstreams: dict[str, Any]) -> str:
    envoy.serve_with_gateways({"upstreams": upstreams})
    return str(upstreams[-1]["name"])


def told(*upstreams: dict[str, Any], envoys: int = 1) -> list[lints.Lint]:
    return lints.lint([Upstream.model_validate(upstream) for upstream in upstreams], envoys=envoys)


def codes(*upstreams: dict[str, Any]) -> list[str]:
    return [each.code for each in told(*upstreams)]


@pytest.mark.feature("Lints", "no-enabled-target: with every target taken out by hand requests get 503")
def test_no_enabled_target(envoy: TranslatedEnvoy, backends: Backends) -> None:
    a, b, _ = backends
    upstream = define(target(a, state="draining"), target(b, weight=0))
    name = serve(envoy, upstream)
    assert send(envoy.port("public"), name, 5) == {"503": 5}
    assert codes(upstream) == ["no-enabled-target"]


@pytest.mark.feature("Lints", "ejection-never: a max_ejection_percent of less than one target ejects none")
def test_ejection_never(envoy: TranslatedEnvoy, backends: Backends) -> None:
    targets = [target(backend) for backend in backends]
    never, ejects = (
        define(*targets, health_checks={"passive": {**PASSIVE, "max_ejection_percent": percent}})
        for percent in (33, 34)
    )
    serve(envoy, never, ejects)
    backends["a"].status = 500
    for upstream, answers in ((never, {"b": 10, "c": 10, "500": 10}), (ejects, {"b": 15, "c": 15})):
        name = upstream["name"]
        send(envoy.port("public"), name, 12)
        done = "active" if upstream is ejects else "overflow"
        envoy.envoy.wait_until(
            lambda n=name, s=done: envoy.envoy.stat(f"cluster.{n}.outlier_detection.ejections_{s}") > 0, 10, done
        )
        envoy.envoy.wait_until(lambda n=name, wanted=answers: send(envoy.port("public"), n, 30) == wanted, 10, name)
    assert (codes(never), codes(ejects)) == (["ejection-never"], [])


@pytest.mark.feature("Lints", "ejection-of-the-only-target: it is used all the same")
def test_ejection_of_the_only_target(envoy: TranslatedEnvoy, backends: Backends) -> None:
    upstream = define(target(backends["a"]), health_checks={"passive": PASSIVE})
    name = serve(envoy, upstream)
    backends["a"].status = 500
    send(envoy.port("public"), name, 4)
    envoy.envoy.wait_for_endpoints(name, {backends["a"].address: "EJECTED"})
    assert send(envoy.port("public"), name, 5) == {"500": 5}
    assert codes(upstream) == ["ejection-of-the-only-target"]


@pytest.mark.feature("Lints", "probe-ignored: without active checks, that a target is not probed means nothing")
def test_probe_ignored(envoy: TranslatedEnvoy, backends: Backends) -> None:
    upstream = define(target(backends["a"], health_check={"disabled": True}))
    name = serve(envoy, upstream)
    assert send(envoy.port("public"), name, 5) == {"a": 5}
    assert backends["a"].probes == 0
    assert codes(upstream) == ["probe-ignored"]


@pytest.mark.feature(
    "Active health checks",
    "probed-differently: a target of two upstreams with other probes is up for one and down for the other",
)
def test_probed_differently(envoy: TranslatedEnvoy, backends: Backends) -> None:
    a = backends["a"]
    one, other = (define(target(a), health_checks={"active": {**PROBES, "path": path}}) for path in ("/healthz", "/"))
    serve(envoy, one, other)
    a.healthy = False
    envoy.envoy.wait_for_endpoints(one["name"], {a.address: "FAILED_ACTIVE_HC"})
    envoy.envoy.wait_for_endpoints(other["name"], {a.address: "HEALTHY"})
    envoy.envoy.wait_until(lambda: send(envoy.port("public"), one["name"], 5) == {"503": 5}, 10, "the end of requests")
    assert send(envoy.port("public"), other["name"], 5) == {"a": 5}
    (said,) = told(one, other)
    assert (said.upstream, said.code) == (other["name"], "probed-differently")
    assert said.fix == "give both the same health_checks.active"


@pytest.mark.feature("Lints", "many-probes: every Envoy probes every target, and a lint counts what a fleet would send")
def test_many_probes(envoys: list[TranslatedEnvoy], backends: Backends, monkeypatch: pytest.MonkeyPatch) -> None:
    a = backends["a"]
    upstream = define(target(a), health_checks={"active": PROBES})
    for envoy in envoys:
        serve(envoy, upstream)
    a.reset()
    attempts = f"cluster.{upstream['name']}.health_check.attempt"
    before = [envoy.envoy.stat(attempts) for envoy in envoys]
    for envoy, sent in zip(envoys, before, strict=True):
        envoy.envoy.wait_until(lambda e=envoy, s=sent: e.envoy.stat(attempts) >= s + 10, 20, "probes of each Envoy")
    assert a.probes >= 20
    monkeypatch.setattr(lints, "MOST_PROBES", 39)
    assert codes(upstream) == []
    (said,) = told(upstream, envoys=2)
    assert (said.code, "would send 40 probes per second" in said.message) == ("many-probes", True)


@pytest.mark.feature(
    "Limits, retries and timeouts",
    "limits-per-envoy: limits count in each Envoy for itself, as is said where it is known how many there are",
)
def test_limits_of_a_fleet(envoys: list[TranslatedEnvoy], backends: Backends) -> None:
    upstream = define(target(backends["a"]), limits={"max_requests": 1})
    for envoy in envoys:
        serve(envoy, upstream)
    backends["a"].delay = 1
    with ThreadPoolExecutor(len(envoys)) as pool:
        ports = [envoy.port("public") for envoy in envoys]
        answers = [*pool.map(lambda port: statuses(at_once(port, upstream["name"], 3)), ports)]
    assert answers == [[503, 503, 200]] * 2
    assert backends["a"].count == 2
    (said,) = told(upstream, envoys=2)
    assert (said.code, "2 Envoys together allow max_requests 2" in said.message) == ("limits-per-envoy", True)
    assert codes(upstream) == []
