"""A real Envoy on our bootstraps: it takes them, finds its control plane, and keeps its clients away from it."""

import json
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import pytest
import yaml

from xds_server.bootstrap import Bootstrap, render
from xds_server.config_sources import Protocol
from xds_server.testing import Backend, EnvoyProcess, Load, find_envoy, request

pytestmark = pytest.mark.envoy

CERTS = Path(__file__).parent / "certs"
ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"


class RecordingControlPlane(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # no generic at run time
    """Accepts any gRPC stream, remembers its method, and never answers."""

    def __init__(self, host: str = "127.0.0.1", credentials: grpc.ServerCredentials | None = None) -> None:
        self.streams: list[str] = []
        self._server = grpc.server(ThreadPoolExecutor(8), handlers=[self])
        address = f"{host}:0"
        add = self._server.add_insecure_port
        self.port = add(address) if credentials is None else self._server.add_secure_port(address, credentials)

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        self.streams.append(details.method)
        return grpc.stream_stream_rpc_method_handler(lambda requests, _: (message for message in requests if False))

    def stop(self) -> None:
        self._server.stop(0).wait()

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def cluster(name: str, backend: Backend, hostname: str = "") -> dict[str, Any]:
    address = {"socket_address": {"address": backend.host, "port_value": backend.port}}
    endpoint = {"endpoint": {"address": address, "hostname": hostname}}
    return {"name": name, "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}}


def impatient(options: Bootstrap, *clusters: dict[str, Any]) -> str:
    """The bootstrap with more static clusters; Envoy listens at once, although its control plane says nothing."""
    bootstrap = yaml.safe_load(render(options))
    for source in ("cds_config", "lds_config"):
        if source in bootstrap["dynamic_resources"]:
            bootstrap["dynamic_resources"][source]["initial_fetch_timeout"] = "0.05s"
    bootstrap["static_resources"]["clusters"] += clusters
    return json.dumps(bootstrap)


@pytest.mark.parametrize("tls", [{}, {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}])
@pytest.mark.parametrize("static_listener", [None, 0])
@pytest.mark.parametrize("protocol", ["delta", "sotw", "per-type", "rest"])
def test_R30_envoy_takes_it(
    protocol: Protocol, static_listener: int | None, tls: dict[str, str], tmp_path: Path
) -> None:
    files = {option: str(CERTS / name) for option, name in tls.items()}
    options = Bootstrap("n", protocol=protocol, static_listener=static_listener, **files)  # type: ignore[arg-type]
    path = tmp_path / "bootstrap.yaml"
    path.write_text(render(options))
    check = subprocess.run(
        [find_envoy(), "--mode", "validate", "-l", "warning", "-c", path], capture_output=True, text=True
    )
    assert check.returncode == 0, check.stderr
    assert "deprecated" not in check.stderr.lower()


@pytest.mark.parametrize(
    ("listens_on", "asks"), [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "localhost"), ("[::1]", "[::1]")]
)
def test_finds_the_control_plane(listens_on: str, asks: str) -> None:
    if listens_on == "[::1]" and not socket.has_ipv6:
        pytest.skip("no IPv6")
    with RecordingControlPlane(listens_on) as control_plane:
        options = Bootstrap("n", xds_address=f"{asks}:{control_plane.port}")
        with EnvoyProcess(impatient(options)) as envoy:
            envoy.wait_until(lambda: control_plane.streams, what="a stream")
    assert control_plane.streams == [ADS + "DeltaAggregatedResources"]


@pytest.mark.parametrize(
    ("protocol", "methods"),
    [
        ("sotw", {ADS + "StreamAggregatedResources"}),
        (
            "per-type",
            {
                "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters",
                "/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners",
            },
        ),
    ],
)
def test_opens_the_protocols_streams(protocol: Protocol, methods: set[str]) -> None:
    with RecordingControlPlane() as control_plane:
        options = Bootstrap("n", protocol=protocol, xds_address=f"127.0.0.1:{control_plane.port}")
        with EnvoyProcess(impatient(options)) as envoy:
            envoy.wait_until(lambda: set(control_plane.streams) == methods, what=f"{methods}")


def test_polls_over_http() -> None:
    with Backend("rest", status=404) as control_plane:
        options = Bootstrap("n", protocol="rest", static_listener=0, xds_address=control_plane.address)
        with EnvoyProcess(impatient(options)) as envoy:
            envoy.wait_until(lambda: control_plane.count, what="a poll")
        assert control_plane.last_path == "/v3/discovery:clusters"


@pytest.fixture
def demanding_control_plane() -> Iterator[RecordingControlPlane]:
    """Takes only clients with a certificate of our CA."""
    pair = ((CERTS / "server.key").read_bytes(), (CERTS / "server.pem").read_bytes())
    credentials = grpc.ssl_server_credentials([pair], (CERTS / "ca.pem").read_bytes(), require_client_auth=True)
    with RecordingControlPlane(credentials=credentials) as control_plane:
        yield control_plane


def tls_options(control_plane: RecordingControlPlane, host: str, ca: str = "ca.pem") -> Bootstrap:
    return Bootstrap(
        "n",
        xds_address=f"{host}:{control_plane.port}",
        ca_file=str(CERTS / ca),
        cert_file=str(CERTS / "client.pem"),
        key_file=str(CERTS / "client.key"),
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_mutual_tls(demanding_control_plane: RecordingControlPlane, host: str) -> None:
    with EnvoyProcess(impatient(tls_options(demanding_control_plane, host))) as envoy:
        envoy.wait_until(lambda: demanding_control_plane.streams, what="a stream")


def test_a_control_plane_of_another_ca_is_not_talked_to(demanding_control_plane: RecordingControlPlane) -> None:
    options = tls_options(demanding_control_plane, "127.0.0.1", "other-ca.pem")
    with EnvoyProcess(impatient(options)) as envoy:
        failure = "cluster.xds-server.internal.ssl.fail_verify_error"
        envoy.wait_until(lambda: envoy.stat(failure), what="a failed verification")
    assert demanding_control_plane.streams == []


def test_labels_reach_envoy_as_text() -> None:
    labels = {"y": "on", "n": "1e3", "null": "~", "hex": "0x1F", "quoted": 'a"b\\c: #d', "two": "lines\nof text"}
    options = Bootstrap("grün", "y", metadata=labels, admin_address="127.0.0.1:0")
    # Our text itself, read by Envoy's YAML reader, not by ours.
    with EnvoyProcess("node: {}", args=["--config-yaml", render(options)]) as envoy:
        node = json.loads(envoy.admin("/server_info"))["node"]
    assert (node["id"], node["cluster"], node["metadata"]) == ("grün", "y", labels)


class Edge:
    """An Envoy with the static listener, its control plane, and three upstreams on one backend."""

    def __init__(self, envoy: EnvoyProcess, control_plane: RecordingControlPlane, backend: Backend) -> None:
        self.envoy, self.control_plane, self.backend = envoy, control_plane, backend
        self.port = envoy.listener_port("static")


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    with Backend("a") as backend, RecordingControlPlane() as control_plane:
        options = Bootstrap("n", xds_address=f"127.0.0.1:{control_plane.port}", static_listener=0)
        clusters = cluster("w", backend), cluster("own", backend, "own.example")
        with EnvoyProcess(impatient(replace(options, static_listener_address="127.0.0.1"), *clusters)) as envoy:
            envoy.wait_for_ready()
            envoy.wait_until(lambda: control_plane.streams, what="Envoy's own stream")
            yield Edge(envoy, control_plane, backend)


@pytest.mark.parametrize("host", ["w", "w:80", "w:1", "w.", "w.:80"])
def test_the_host_names_the_upstream(edge: Edge, host: str) -> None:
    answer = request(edge.port, host, "/some/path?x=1")
    assert (answer.status, answer.backend) == (200, "a")
    assert edge.backend.last_path == "/some/path?x=1"
    assert edge.backend.last_host == "w"


def test_a_target_with_a_name_gets_it_as_host(edge: Edge) -> None:
    assert request(edge.port, "own").status == 200
    assert edge.backend.last_host == "own.example"


@pytest.mark.parametrize("host", ["unknown", "", "W", "w:80:90", "w.."])
def test_an_unknown_host_is_404(edge: Edge, host: str) -> None:
    assert request(edge.port, host).status == 404


def test_the_source_address_is_the_connections(edge: Edge) -> None:
    request(edge.port, "w", headers={"x-forwarded-for": "203.0.113.7"})
    assert edge.backend.last_headers["x-envoy-external-address"] == "127.0.0.1"


CONTROL_PLANE_NAMES = [
    "xds-server.internal",
    "XDS-Server.Internal",
    "xds-server.internal:18000",
    "xds-server.internal:",
    "xds-server.internal.",
    "xds-server.internal.:18000",
    "xds-server.internal:18000.",
    "xds-server.internal:18000:18000",
    "xds-server.internal..",
]


@pytest.fixture
def untouched(edge: Edge) -> Iterator[None]:
    """Nothing but Envoy's own stream has reached the control plane, by its account and by Envoy's."""
    requests = "cluster.xds-server.internal.upstream_rq_total"
    before = edge.envoy.stat(requests), list(edge.control_plane.streams)
    assert before == (1, [ADS + "DeltaAggregatedResources"])
    yield
    assert (edge.envoy.stat(requests), edge.control_plane.streams) == before


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("host", CONTROL_PLANE_NAMES)
def test_the_control_planes_name_is_404(edge: Edge, host: str) -> None:
    assert request(edge.port, host, ADS + "StreamAggregatedResources", method="POST").status == 404


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("host", CONTROL_PLANE_NAMES)
def test_the_control_planes_name_in_the_request_line_is_404(edge: Edge, host: str) -> None:
    assert request(edge.port, "w", f"http://{host}/").status in (400, 404)


@pytest.mark.usefixtures("untouched")
def test_no_tunnel_to_the_control_plane(edge: Edge) -> None:
    for target in ("xds-server.internal", "xds-server.internal:18000", f"127.0.0.1:{edge.control_plane.port}"):
        assert request(edge.port, target, target, method="CONNECT").status in (400, 404)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("authority", CONTROL_PLANE_NAMES)
@pytest.mark.parametrize("method", ["StreamAggregatedResources", "DeltaAggregatedResources"])
def test_a_grpc_stream_to_the_control_plane_is_refused(edge: Edge, authority: str, method: str) -> None:
    options = [("grpc.default_authority", authority)]
    with (
        grpc.insecure_channel(f"127.0.0.1:{edge.port}", options=options) as channel,
        pytest.raises(grpc.RpcError) as refused,
    ):
        list(channel.stream_stream(ADS + method, None, None)(iter([b""]), timeout=10))
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED  # what gRPC makes of a 404


def test_the_check_sees_a_stream_that_gets_through(edge: Edge) -> None:
    # The same client straight at the control plane: were it not recorded, the tests above could not fail.
    seen = len(edge.control_plane.streams)
    with grpc.insecure_channel(f"127.0.0.1:{edge.control_plane.port}") as channel:
        assert list(channel.stream_stream(ADS + "StreamAggregatedResources", None, None)(iter([b""]), timeout=10)) == []
    assert edge.control_plane.streams.pop() == ADS + "StreamAggregatedResources"
    assert len(edge.control_plane.streams) == seen


def test_forwards_without_a_control_plane() -> None:
    with Backend("a") as backend, RecordingControlPlane() as control_plane:
        options = Bootstrap(
            "n",
            xds_address=f"127.0.0.1:{control_plane.port}",
            static_listener=0,
            static_listener_address="127.0.0.1",
        )
        with EnvoyProcess(impatient(options, cluster("w", backend))) as envoy:
            envoy.wait_for_ready()
            with Load(envoy.listener_port("static"), "w") as load:
                envoy.wait_until(lambda: envoy.stat("control_plane.connected_state"), what="Envoy's stream")
                load.wait_for(20)
                control_plane.stop()
                envoy.wait_until(lambda: not envoy.stat("control_plane.connected_state"), what="the loss to be seen")
                load.wait_for(50)
            assert load.failures == 0, load.errors
