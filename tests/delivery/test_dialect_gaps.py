"""What one way of asking cannot express: it is left out or altered there alone, and told."""

from collections.abc import Iterable
from typing import Any

import pytest
from asking import ADS, ENVOYS, GRPC, NODES, PER_TYPE, REST, arrives, served
from definitions import change, complaints, names, upstream
from structlog.testing import capture_logs

from xds_server.catalog.changes import Change
from xds_server.delivery import compiling
from xds_server.delivery.publisher import Publisher
from xds_server.upstreams.model import Upstream
from xds_server.upstreams.translate import Dialect
from xds_server.xds import CLUSTER, LISTENER, ROUTES, Node

PUBLIC = {"name": "public", "port": 80}


def events(logs: Iterable[Any], name: str) -> list[Any]:
    return [log for log in logs if log["event"] == name]


async def test_what_one_dialect_cannot_express_is_left_out_of_it_alone_and_said_once() -> None:
    publisher = Publisher()
    await publisher.apply(change(upstream("a"), upstream("b")))
    await arrives(publisher, *NODES.values())
    with capture_logs() as logs:
        await publisher.apply(change(upstream("a", protocol="tcp")))
        await publisher.apply(change(upstream("c"), upstream("a", protocol="tcp")))
        await publisher._resolved(frozenset())
    (said,) = complaints(logs)
    assert said["event"] == "definition.not_served"
    assert (said["at"], said["name"], said["dialect"]) == ("file.yaml:1", "a", "grpc-client")
    assert "protocol" in said["problem"]
    assert said["log_level"] == "warning"
    for node in ENVOYS:
        assert names(served(publisher, node), CLUSTER) == ["a", "b", "c"]
    assert names(served(publisher, GRPC), CLUSTER) == ["b", "c"]
    await publisher.apply(change(upstream("a")))
    assert names(served(publisher, GRPC), CLUSTER) == ["a", "b", "c"]
    with capture_logs() as logs:
        await publisher.apply(change(upstream("a", protocol="tcp")))
    assert len(events(logs, "definition.not_served")) == 1, "it was mended meanwhile"


async def test_a_dialect_that_starts_leaves_out_what_it_cannot_express() -> None:
    publisher = Publisher()
    await publisher.apply(change(upstream("a", protocol="tcp"), upstream("b")))
    with capture_logs() as logs:
        await arrives(publisher, GRPC)
    assert names(served(publisher, GRPC), CLUSTER) == ["b"]
    assert [log["name"] for log in events(logs, "definition.not_served")] == ["a"]


async def test_what_is_refused_is_refused_for_all() -> None:
    publisher = Publisher()
    await publisher.apply(change(upstream("a", "10.0.0.1")))
    await arrives(publisher, *NODES.values())
    before = {node.id: served(publisher, node) for node in NODES.values()}
    with capture_logs() as logs:
        await publisher.apply(change(upstream("a", "10.0.0.2", envoy={"connect_timeout": "0s"})))
    assert [log["event"] for log in logs] == ["definition.refused"]
    assert {node.id: served(publisher, node) for node in NODES.values()} == before


async def test_a_mistake_of_ours_in_one_dialect_does_not_touch_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    real = compiling.compile_upstream

    def breaks(upstream: Upstream, addresses: Any, dialect: Dialect, **more: Any) -> Any:
        if dialect is Dialect.REST and upstream.name == "odd":
            raise RuntimeError("never thought of")
        return real(upstream, addresses, dialect, **more)

    monkeypatch.setattr(compiling, "compile_upstream", breaks)
    publisher = Publisher()
    with capture_logs() as logs:
        await publisher.apply(change(upstream("odd"), upstream("sound")))
        await arrives(publisher, REST, PER_TYPE)
    assert names(served(publisher, REST), CLUSTER) == ["sound"]
    assert names(served(publisher, PER_TYPE), CLUSTER) == ["odd", "sound"]
    (said,) = events(logs, "definition.not_served")
    assert "please report" in said["problem"]


async def test_what_is_served_otherwise_than_written_is_said_once() -> None:
    publisher = Publisher()
    edge = {"clusters": ["edge"]}
    await publisher.apply(
        change(upstream("a", algorithm="random"), upstream("b"), upstream("c", algorithm="random", nodes=edge))
    )
    with capture_logs() as logs:
        await arrives(publisher, GRPC)
        await publisher._resolved(frozenset())
        await publisher.apply(change(upstream("b", "10.0.0.1"), upstream("a", algorithm="random")))
    altered = events(logs, "definition.altered")
    assert [(log["at"], log["name"], log["dialect"]) for log in altered] == [
        ("file.yaml:1", "a", "grpc-client"),
        ("file.yaml:1", "c", "grpc-client"),
    ]
    assert any("random" in warning for warning in altered[0]["warnings"])

    assert publisher.warnings(GRPC) == {"a": altered[0]["warnings"]}
    assert set(publisher.warnings(Node("g", cluster="edge", user_agent="gRPC Go 1.70"))) == {"a", "c"}
    assert publisher.warnings(ADS) == publisher.warnings(REST) == {}
    with capture_logs() as logs:
        await publisher.apply(change(upstream("a", "10.0.0.1", algorithm="random"), remove=("c",)))
    assert events(logs, "definition.altered") == [], "of an edit that alters nothing about it"
    with capture_logs() as logs:
        await publisher.apply(change(upstream("a", algorithm="maglev")))
    assert [log["name"] for log in events(logs, "definition.altered")] == ["a"]
    await publisher.apply(change(upstream("a")))
    assert publisher.warnings(GRPC) == {}


async def test_grpc_clients_get_neither_gateways_nor_shared_routes() -> None:
    publisher = Publisher()
    # Named like the route configuration that Envoys share.
    await publisher.apply(change(upstream("xds-server"), gateways=(PUBLIC,)))
    await arrives(publisher, *NODES.values())
    own = served(publisher, GRPC)
    assert (names(own, LISTENER), names(own, ROUTES)) == (["xds-server"], ["xds-server"])
    for node in ENVOYS:
        snapshot = served(publisher, node)
        assert (names(snapshot, LISTENER), names(snapshot, ROUTES)) == (["public"], ["xds-server"])
    await publisher.apply(Change(removed_gateways=frozenset({"public"})))
    assert served(publisher, GRPC) is own
    for node in ENVOYS:
        assert names(served(publisher, node), LISTENER) == names(served(publisher, node), ROUTES) == []
