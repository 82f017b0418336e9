"""gRPC applications whose control plane asks who they are."""

from pathlib import Path

from certificates import Authority, Pair
from grpc_backends import GrpcBackend
from grpc_client import GrpcClient
from grpc_control_plane import Product, target


def test_P21_an_application_is_served_as_what_its_certificate_says(tmp_path: Path) -> None:
    servers, clients = Authority(), Authority()
    pair = servers.issue(tmp_path / "server", "127.0.0.1")
    ca, client_ca = servers.write(tmp_path / "ca.pem"), clients.write(tmp_path / "client-ca.pem")
    args = ["--tls-cert", str(pair.cert), "--tls-key", str(pair.key), "--tls-client-ca", str(client_ca)]

    def app(shown: Pair) -> GrpcClient:
        files = {"certificate_file": str(shown.cert), "private_key_file": str(shown.key)}
        return GrpcClient(control_plane.xds_address, tls={"ca_certificate_file": str(ca), **files})

    good, bad = clients.issue(tmp_path / "good", "app"), clients.issue(tmp_path / "bad", "other")
    with GrpcBackend("a") as backend, Product(tmp_path, args=args) as control_plane:
        control_plane.upstream("payments", target(backend))
        with app(good) as served, app(bad) as refused:
            assert served.send("payments", 5).backends == {"a": 5}
            outcome = refused.send("payments", within=3)
            assert outcome.backends == {}
            assert "PERMISSION_DENIED" in str(outcome.errors), "the application is told why"
            assert "node 'app' of cluster 'tests', and its certificate is for 'other'" in str(outcome.errors)
            control_plane.server.wait_for_event("xds.refused")
            assert {event["node"] for event in control_plane.server.events("xds.refused")} == {"app"}
            assert served.send("payments", 5).backends == {"a": 5}
