"""Shares of localities by their weights, as the real Envoy carries them out."""

from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from translated_envoy import TranslatedEnvoy
from zoned_fleet import AT_ONCE, PROBED, ZONES, by_zone, placed

from xds_server.testing import Backends, request, send

pytestmark = pytest.mark.envoy

FRESH = (f"shares-{number}" for number in count())


@pytest.fixture
def backends() -> Iterator[Backends]:
    with Backends("a1", "a2", "b1", "b2", "c1") as started:
        yield started


@pytest.fixture(scope="module")
def envoy() -> Iterator[TranslatedEnvoy]:
    with TranslatedEnvoy() as started:
        yield started


def weights(**by_zone: int) -> dict[str, Any]:
    return {"balance": "weighted", "weights": [{**ZONES[zone], "weight": weight} for zone, weight in by_zone.items()]}


def serve(envoy: TranslatedEnvoy, name: str, targets: list[dict[str, Any]], **fields: Any) -> None:
    fields = {"failover": "proportional", "envoy": AT_ONCE, **fields}
    envoy.serve_with_gateways({"upstreams": [{"name": name, "targets": targets, **fields}]})


def by_header(envoy: TranslatedEnvoy, name: str, requests: int) -> Counter[str]:
    port = envoy.port("public")
    return Counter(request(port, name, headers={"x-user": str(number)}).backend for number in range(requests))


@pytest.mark.feature(
    "Localities and failover", "localities share requests by their weights, however many targets they have"
)
@pytest.mark.parametrize("algorithm", ["round-robin", "least-connections", "random", "ring-hash", "maglev"])
def test_localities_share_by_weight(envoy: TranslatedEnvoy, backends: Backends, algorithm: str) -> None:
    name = next(FRESH)
    targets = [placed(backends["a1"]), placed(backends["b1"]), placed(backends["b2"])]
    serve(envoy, name, targets, localities=weights(a=4, b=1), algorithm=algorithm, hash_on=[{"header": "x-user"}])
    is_hashed = algorithm in ("ring-hash", "maglev")
    counts = by_zone(by_header(envoy, name, 300) if is_hashed else send_to(envoy, name, 300))
    # A third without weights of localities; 240 with them, and random choices stay within 6 sigma.
    assert counts["a"] == pytest.approx(240, abs=45)
    assert counts["a"] + counts["b"] == 300


def send_to(envoy: TranslatedEnvoy, name: str, requests: int) -> Counter[str]:
    return send(envoy.port("public"), name, requests)


@pytest.mark.feature("Localities and failover", "a locality's weight is changed live, and 0 takes the locality out")
def test_a_locality_is_taken_out_by_weight_zero(envoy: TranslatedEnvoy, backends: Backends) -> None:
    name = next(FRESH)
    targets = [placed(backends["a1"]), placed(backends["b1"]), placed(backends["c1"], priority=1)]
    serve(envoy, name, targets, localities=weights(a=1, b=1, c=1))
    assert by_zone(send_to(envoy, name, 20)) == {"a": 10, "b": 10}
    version = envoy.envoy.stat(f"cluster.{name}.upstream_cx_total")
    serve(envoy, name, targets, localities=weights(a=3, b=1, c=1))
    envoy.envoy.wait_until(lambda: by_zone(send_to(envoy, name, 40)) == {"a": 30, "b": 10})
    serve(envoy, name, targets, localities=weights(a=0, b=1, c=1))
    envoy.envoy.wait_until(lambda: by_zone(send_to(envoy, name, 20)) == {"b": 20})
    serve(envoy, name, targets, localities=weights(a=0, b=0, c=1))
    envoy.envoy.wait_until(lambda: by_zone(send_to(envoy, name, 20)) == {"c": 20})
    serve(envoy, name, targets, localities=weights(a=0, b=0, c=0))
    envoy.envoy.wait_until(lambda: by_zone(send_to(envoy, name, 20)) == {"503": 20})
    assert envoy.envoy.stat(f"cluster.{name}.upstream_cx_total") == version + 1, (
        "no cluster was built anew: only c is new"
    )


@pytest.mark.feature(
    "Localities and failover", "a locality's share shrinks with its healthy targets, and goes to the others"
)
def test_a_sick_locality_gives_its_share_away(envoy: TranslatedEnvoy, backends: Backends) -> None:
    name = next(FRESH)
    targets = [placed(backends[name]) for name in ("a1", "a2", "b1", "b2")]
    serve(envoy, name, targets, localities=weights(a=1, b=1), health_checks=PROBED)
    envoy.envoy.wait_for_endpoints(name, {backends[n].address: "HEALTHY" for n in ("a1", "a2", "b1", "b2")})
    backends["a1"].healthy = False
    # Half of the targets, times 140 %: 0.7 to 1.
    envoy.envoy.wait_until(lambda: send_to(envoy, name, 170)["a2"] == pytest.approx(70, abs=10))
    backends["a2"].healthy = False
    envoy.envoy.wait_until(lambda: by_zone(send_to(envoy, name, 20)) == {"b": 20})
