"""Requests on their way: host names, Host headers, timeouts, retries, protocols, as the real Envoy carries them out."""

import importlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from translated_envoy import TranslatedEnvoy

from xds_server.testing import Backends, send

pytestmark = [pytest.mark.envoy, pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # envoy-data-plane's own

LISTENERS = pytest.mark.parametrize("listener", ["public", "static"])

# The next target in turn is often the same again: only a retry that avoids it is sure to help.
UNEVEN = {"algorithm": "weighted-round-robin"}


def data_plane() -> Any:
    return importlib.import_module("envoy_data_plane.envoy.config.cluster.v3")


@pytest.fixture(scope="module")
def backends() -> Iterator[Backends]:
    with Backends("a", "b") as started:
        yield started


@pytest.fixture(scope="module")
def envoy(backends: Backends) -> Iterator[TranslatedEnvoy]:
    """One Envoy with everything that this file asks for."""
    a, b = ({"host": "127.0.0.1", "port": backend.port} for backend in backends)
    heavy = {**a, "weight": 3}
    named = {"host": "backend.example", "port": a["port"]}
    upstreams: list[dict[str, Any]] = [
        {"name": "plain", "targets": [a], "hostnames": ["Shop.Example", "*.shop.example"]},
        {"name": "host-text", "targets": [a], "host_header": "text.example"},
        {"name": "host-target", "targets": [named], "host_header": "target"},
        {"name": "host-keep", "targets": [named]},
        {"name": "timed", "targets": [a], "timeout": "500ms"},
        {**UNEVEN, "name": "retried", "targets": [heavy, b], "retries": {"attempts": 1, "on": ["5xx"]}},
        {**UNEVEN, "name": "not-retried", "targets": [heavy, b]},
        {"name": "raw", "targets": [a], "envoy": data_plane().Cluster(per_connection_buffer_limit_bytes=4242)},
        {"name": "newer", "targets": [a], "envoy": {"per_connection_buffer_high_watermark_timeout": "7s"}},
    ]
    with TranslatedEnvoy() as started:
        started.serve_with_gateways({"upstreams": upstreams}, **{"backend.example": ["127.0.0.1"]})
        # Envoy's own gateway takes HTTP/2 without TLS, and so is the target that speaks it.
        public = {"host": "127.0.0.1", "port": started.port("public")}
        active = {"path": "/healthz", "host": "plain", "interval": "100ms"}
        http2 = {"name": "http2", "protocol": "http2", "targets": [public], "host_header": "plain"}
        upstreams.append({**http2, "health_checks": {"active": active}})
        started.serve_with_gateways({"upstreams": upstreams}, **{"backend.example": ["127.0.0.1"]})
        assert not [event for event in started.events if event.kind == "rejected"]
        yield started


@pytest.mark.feature("Gateways", "host names, whatever their case and port, and suffixes lead to their upstream")
@pytest.mark.parametrize("host", ["plain", "shop.example", "SHOP.example", "x.y.shop.example", "plain:8080", "plain."])
def test_host_names_lead_to_their_upstream(envoy: TranslatedEnvoy, host: str) -> None:
    assert envoy.ask(host).backend == "a"


@pytest.mark.feature(
    "Gateways", "targets learn the client's address by x-forwarded-for, behind what the client said of others"
)
def test_the_client_is_the_last_that_the_request_came_through(envoy: TranslatedEnvoy, backends: Backends) -> None:
    assert envoy.ask("plain", headers={"x-forwarded-for": "203.0.113.9"}).status == 200
    # A client on loopback is known by another address of the machine.
    assert re.fullmatch(r"203\.0\.113\.9,[0-9.]+", backends["a"].last_headers["x-forwarded-for"])


@pytest.mark.feature("Gateways", "targets see paths without .. in them")
def test_paths_are_normalized(envoy: TranslatedEnvoy, backends: Backends) -> None:
    assert envoy.ask("plain", "/a/../b?c=../d").status == 200
    assert backends["a"].last_path == "/b?c=../d"


@LISTENERS
@pytest.mark.feature("Gateways", "a host that no upstream answers for is 404")
def test_an_unknown_host_is_404(envoy: TranslatedEnvoy, listener: str) -> None:
    assert envoy.ask("unknown", listener=listener).status == 404


@LISTENERS
@pytest.mark.feature(
    "Protocols and TLS", "targets see the client's Host, their own name, or a text, as host_header says"
)
@pytest.mark.parametrize(
    ("upstream", "seen"),
    [("host-text", "text.example"), ("host-target", "backend.example"), ("host-keep", "host-keep")],
)
def test_targets_see_the_host_header_that_is_wanted(
    envoy: TranslatedEnvoy, backends: Backends, listener: str, upstream: str, seen: str
) -> None:
    assert envoy.ask(upstream, listener=listener).status == 200
    assert backends["a"].last_host == seen


@LISTENERS
@pytest.mark.feature("Limits, retries and timeouts", "an answer that takes longer than timeout is 504")
def test_an_answer_that_takes_longer_than_the_timeout_is_504(
    envoy: TranslatedEnvoy, backends: Backends, listener: str
) -> None:
    backends["a"].delay = 0.8
    try:
        assert envoy.ask("timed", listener=listener).status == 504
        assert envoy.ask("plain", listener=listener).status == 200
    finally:
        backends["a"].delay = 0
    assert envoy.ask("timed", "/stream?chunks=2&every=0.01", listener=listener).status == 200


@LISTENERS
@pytest.mark.feature("Limits, retries and timeouts", "a retry goes to another target")
def test_a_retry_goes_to_another_target(envoy: TranslatedEnvoy, backends: Backends, listener: str) -> None:
    backends["a"].status = 500
    try:
        assert send(envoy.port(listener), "retried", 20) == {"b": 20}
        assert send(envoy.port(listener), "not-retried", 20) == {"b": 5, "500": 15}
    finally:
        backends["a"].status = 200


@pytest.mark.feature("Protocols and TLS", "targets that speak HTTP/2 are probed and asked in it")
def test_targets_that_speak_http2_are_probed_and_asked_in_http2(envoy: TranslatedEnvoy) -> None:
    assert envoy.ask("http2").backend == "a"
    assert set(envoy.envoy.endpoints("http2").values()) == {"HEALTHY"}
    assert envoy.envoy.stat("cluster.http2.upstream_cx_http2_total") >= 1


def test_overrides_reach_envoy(envoy: TranslatedEnvoy) -> None:
    dump = envoy.envoy.config_dump("dynamic_active_clusters")
    clusters = {entry["cluster"]["name"]: entry["cluster"] for entry in dump["configs"]}
    assert clusters["raw"]["per_connection_buffer_limit_bytes"] == 4242
    assert clusters["newer"]["per_connection_buffer_high_watermark_timeout"] == "7s", json.dumps(clusters["newer"])
