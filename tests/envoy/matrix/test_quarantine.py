"""What one Envoy refuses is kept back from it alone: it goes on with its last good version, and everything else moves on."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from envoy_matrix import (
    AGGREGATED,
    PER_TYPE,
    SOON,
    Column,
    MatrixEnvoy,
    columns,
    endpoints,
    endpoints_message,
    unchecked,
)

from xds_server.testing import Backends, EnvoyProcess, send
from xds_server.xds import CLUSTER, ENDPOINTS, Resource

pytestmark = [pytest.mark.envoy, columns(*AGGREGATED, *PER_TYPE)]
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


@pytest.fixture(scope="module")
def backends() -> Iterator[Backends]:
    with Backends("a", "b") as backends:
        yield backends


@pytest.fixture
def rig(column: Column, backends: Backends) -> Iterator[MatrixEnvoy]:
    """An Envoy that serves ``app`` and ``other`` from backend a."""
    with MatrixEnvoy(column) as rig:
        names = ("app", "other")
        rig.serve(
            *(rig.cluster(name) for name in names),
            *(endpoints(name, backends["a"]) for name in names),
            routes={name: name for name in names},
        )
        yield rig


def tls_with(ca: dict[str, str]) -> dict[str, Any]:
    """A transport socket that trusts a CA, which only Envoy's own machine can find to be missing."""
    context = {"@type": TLS, "common_tls_context": {"validation_context": {"trusted_ca": ca}}}
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def without_its_file(rig: MatrixEnvoy, name: str) -> Resource:
    return rig.cluster(name, transport_socket=tls_with({"filename": "/nowhere/ca.pem"}))


def timeout_of(envoy: EnvoyProcess, name: str) -> str:
    """The connect timeout of a cluster in use; empty when there is none."""
    active = (entry["cluster"] for entry in envoy.config_dump("dynamic_active_clusters").get("configs", []))
    return next((cluster.get("connect_timeout", "") for cluster in active if cluster["name"] == name), "")


def test_P22_S23_S42_D31_a_refused_change_leaves_the_last_good_version_in_use(
    rig: MatrixEnvoy, backends: Backends
) -> None:
    with rig.load("app") as load:
        rig.server.change(
            without_its_file(rig, "app"), rig.cluster("other", connect_timeout="7s"),
            rig.cluster("fresh"), endpoints("fresh", backends["b"]), rig.routes({"fresh": "fresh"}),
        )  # fmt: skip
        kept_back = rig.server.wait_for("quarantined", CLUSTER)
        assert kept_back.names == ("app",)
        assert "/nowhere/ca.pem" in kept_back.detail
        rig.wait_until(
            lambda: rig.active_cluster("other").get("connect_timeout") == "7s", "what changed beside it", SOON
        )
        rig.wait_until(lambda: rig.ask("fresh").backend == "b", "what came beside it", SOON)
        refused = rig.rejected(CLUSTER)
        # Later changes arrive, and what is refused is not offered again.
        rig.server.change(rig.cluster("other", connect_timeout="8s"), endpoints("app", backends["b"]))
        rig.wait_until(lambda: rig.active_cluster("other").get("connect_timeout") == "8s", "a later change", SOON)
        rig.wait_for_endpoints("app", backends["b"])
        assert rig.rejected(CLUSTER) == refused
        # Mended.
        rig.server.change(rig.cluster("app", connect_timeout="9s"))
        assert rig.server.wait_for("released", CLUSTER).names == ("app",)
        rig.wait_until(lambda: rig.active_cluster("app").get("connect_timeout") == "9s", "the mended one", SOON)
        load.wait_for(20)
    assert load.failures == 0, load.errors
    rig.wait_until(lambda: rig.version(CLUSTER) == rig.server.snapshot.version(CLUSTER), "acceptance")
    assert rig.rejected(CLUSTER) == refused
    rig.assert_nothing_was_waited_for("app", "other", "fresh")


def test_P22_B33_an_envoy_that_accepts_it_is_served_the_new_version(
    rig: MatrixEnvoy, column: Column, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change wants a CA from the environment, which one of two Envoys has."""
    monkeypatch.setenv("CA_OF_THE_SECOND", trustme.CA().cert_pem.bytes().decode())
    bootstrap = column.bootstrap(rig.server.address)
    bootstrap["node"]["id"] = "second"
    tls = tls_with({"environment_variable": "CA_OF_THE_SECOND"})
    matches = [{"name": "tls", "match": {"tls": "yes"}, "transport_socket": tls}]  # which no endpoint says
    with EnvoyProcess(json.dumps(bootstrap), binary=column.binary) as second:
        second.wait_until(lambda: second.listener_port("public"), 10, "the second Envoy's listener")
        changed = rig.cluster("app", transport_socket_matches=matches, connect_timeout="7s")
        rig.server.change(changed, rig.cluster("other", connect_timeout="7s"))
        kept_back = rig.server.wait_for("quarantined", CLUSTER)
        assert kept_back.names == ("app",)
        assert kept_back.node is not None
        assert kept_back.node.id == "matrix"
        rig.wait_until(
            lambda: rig.active_cluster("other").get("connect_timeout") == "7s", "what changed beside it", SOON
        )
        for name in ("app", "other"):
            second.wait_until(lambda name=name: timeout_of(second, name) == "7s", SOON, f"{name} on the other one")
        assert rig.send("app", 3) == {"a": 3}
        assert send(second.listener_port("public"), "app", 3) == {"a": 3}
        assert len(rig.server.seen("rejected")) == 1


def test_S23_D31_one_bad_assignment_among_many(rig: MatrixEnvoy, backends: Backends) -> None:
    """Envoy applies nothing of a response with one, and does not say which it is."""
    names = [f"many-{number}" for number in range(8)]
    rig.server.change(*(rig.cluster(name) for name in names), *(endpoints(name, backends["a"]) for name in names))
    for name in names:
        rig.wait_for_endpoints(name, backends["a"])
    bad = endpoints_message("many-3", backends["b"])
    bad.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address = "nowhere"
    rig.server.change(
        unchecked(bad, ENDPOINTS, "many-3"), *(endpoints(name, backends["b"]) for name in names if name != "many-3")
    )
    assert rig.server.wait_for("quarantined", ENDPOINTS).names == ("many-3",)
    for name in names:
        rig.wait_for_endpoints(name, backends["a" if name == "many-3" else "b"])
    rig.server.change(endpoints("many-3", backends["b"]))
    rig.wait_for_endpoints("many-3", backends["b"])
    assert rig.server.wait_for("released", ENDPOINTS).names == ("many-3",)


def test_S67_D30_a_new_connection_brings_one_more_try(rig: MatrixEnvoy, backends: Backends) -> None:
    rig.server.change(without_its_file(rig, "app"))
    rig.server.wait_for("quarantined", CLUSTER)
    rig.server.cut()
    rig.server.mend()
    rig.server.wait_for("quarantined", CLUSTER, timeout=SOON + 10)
    assert len(rig.server.seen("rejected", CLUSTER)) == 1
    rig.server.change(rig.cluster("other", connect_timeout="7s"))
    rig.wait_until(lambda: rig.active_cluster("other").get("connect_timeout") == "7s", "a later change", SOON)
    assert rig.send("app", 3) == {"a": 3}
