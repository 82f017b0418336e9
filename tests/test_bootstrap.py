import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from xds_server.bootstrap import EXAMPLES, Bootstrap, render, render_sds

ENVOY_DIRECTORY = Path(__file__).parent.parent / "envoy"


def rendered(**options: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(render(Bootstrap(**{"node_id": "edge-1", **options})))
    return loaded


def control_plane(**options: Any) -> dict[str, Any]:
    cluster: dict[str, Any] = rendered(**options)["static_resources"]["clusters"][0]
    return cluster


def socket_address(cluster: dict[str, Any]) -> dict[str, Any]:
    address: dict[str, Any] = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
    socket: dict[str, Any] = address["socket_address"]
    return socket


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_ready_files_are_what_we_print(name: str) -> None:
    assert (ENVOY_DIRECTORY / name).read_text() == render(EXAMPLES[name])


def test_the_ready_files_are_written_by_one_command(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "xds_server.bootstrap", tmp_path], check=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        path.name: path.read_text() for path in ENVOY_DIRECTORY.glob("*.yaml")
    }


def test_the_same_labels_in_any_order_give_the_same_text() -> None:
    one = render(Bootstrap(node_id="a", metadata={"x": "1", "y": "2"}))
    assert one == render(Bootstrap(node_id="a", metadata={"y": "2", "x": "1"}))


def test_node() -> None:
    node = rendered(node_cluster="edge", region="eu", zone="eu-1a", metadata={"team": "billing"})["node"]
    assert node == {
        "id": "edge-1",
        "cluster": "edge",
        "locality": {"region": "eu", "zone": "eu-1a"},
        "metadata": {"team": "billing"},
    }


def test_a_node_without_more_has_a_cluster_because_envoy_needs_one() -> None:
    assert rendered()["node"] == {"id": "edge-1", "cluster": "default"}


@pytest.mark.parametrize("text", ["y", "on", "null", "1e3", "0x1F", "~", "1.0", 'a"b\\c: #d', "grün", "a\nb"])
def test_what_the_user_writes_stays_text(text: str) -> None:
    node = rendered(node_id=text, metadata={text: text})["node"]
    assert (node["id"], node["metadata"]) == (text, {text: text})
    assert "id: " + text + "\n" not in render(Bootstrap(node_id=text)), "Envoy's reader takes more words for values"


def test_R30_R31_listeners_and_clusters_come_over_the_aggregated_stream() -> None:
    for protocol, api_type in (("delta", "DELTA_GRPC"), ("sotw", "GRPC")):
        dynamic = rendered(protocol=protocol)["dynamic_resources"]
        assert dynamic["ads_config"]["api_type"] == api_type
        assert "ads" in dynamic["lds_config"]
        assert "ads" in dynamic["cds_config"]


def test_a_static_listener_leaves_out_lds_alone() -> None:
    bootstrap = rendered(static_listener=10000)
    assert set(bootstrap["dynamic_resources"]) == {"ads_config", "cds_config"}
    address = bootstrap["static_resources"]["listeners"][0]["address"]["socket_address"]
    assert address == {"address": "0.0.0.0", "port_value": 10000}


def test_a_static_listener_ends_no_long_answer() -> None:
    manager = rendered(static_listener=1)["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    hosts = manager["typed_config"]["route_config"]["virtual_hosts"]
    assert hosts[-1]["routes"][0]["route"]["timeout"] == "0s"
    assert manager["typed_config"]["stream_idle_timeout"] == "300s"


def test_streams_per_type() -> None:
    dynamic = rendered(protocol="per-type")["dynamic_resources"]
    assert set(dynamic) == {"lds_config", "cds_config"}
    assert {source["api_config_source"]["api_type"] for source in dynamic.values()} == {"DELTA_GRPC"}


def test_polling_speaks_http1_to_the_http_port() -> None:
    source = rendered(protocol="rest")["dynamic_resources"]["cds_config"]["api_config_source"]
    assert (source["api_type"], source["cluster_names"]) == ("REST", ["xds-server.internal"])
    cluster = control_plane(protocol="rest")
    assert "typed_extension_protocol_options" not in cluster
    assert socket_address(cluster) == {"address": "127.0.0.1", "port_value": 18080}


@pytest.mark.parametrize("protocol", ["per-type", "rest"])
def test_any_number_of_clusters_may_ask_for_its_endpoints(protocol: str) -> None:
    (limits,) = control_plane(protocol=protocol)["circuit_breakers"]["thresholds"]
    assert limits == {"max_pending_requests": 2**32 - 1, "max_requests": 2**32 - 1}


@pytest.mark.parametrize(
    ("text", "address", "port", "kind"),
    [
        ("10.0.0.1:18000", "10.0.0.1", 18000, "STATIC"),
        ("[2001:db8::1]:18000", "2001:db8::1", 18000, "STATIC"),
        ("control.example:443", "control.example", 443, "STRICT_DNS"),
    ],
)
def test_the_control_planes_address(text: str, address: str, port: int, kind: str) -> None:
    cluster = control_plane(xds_address=text)
    assert socket_address(cluster) == {"address": address, "port_value": port}
    assert cluster["type"] == kind


def test_tls_verifies_the_name_that_was_asked_for() -> None:
    files = {"ca_file": "/ca.pem", "cert_file": "/cert.pem", "key_file": "/key.pem"}
    context = control_plane(xds_address="control.example:443", **files)["transport_socket"]["typed_config"]
    assert context["sni"] == "control.example"
    common = context["common_tls_context"]
    assert common["validation_context"] == {
        "trusted_ca": {"filename": "/ca.pem"},
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "control.example"}}],
    }
    assert common["tls_certificates"] == [
        {"certificate_chain": {"filename": "/cert.pem"}, "private_key": {"filename": "/key.pem"}}
    ]


def test_tls_by_files_that_envoy_watches() -> None:
    files = {"ca_file": "/ca.pem", "cert_file": "/cert.pem", "key_file": "/key.pem", "sds_dir": "/etc/envoy/sds/"}
    options = Bootstrap("edge-1", xds_address="control.example:443", **files)  # type: ignore[arg-type]
    common = control_plane(xds_address="control.example:443", **files)["transport_socket"]["typed_config"][
        "common_tls_context"
    ]
    combined = common["combined_validation_context"]
    assert combined["default_validation_context"] == {
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "control.example"}}]
    }, "the name is compared as it is without"
    references = [combined["validation_context_sds_secret_config"], *common["tls_certificate_sds_secret_configs"]]
    paths = [reference["sds_config"]["path_config_source"]["path"] for reference in references]
    assert paths == ["/etc/envoy/sds/control-plane-ca.yaml", "/etc/envoy/sds/client-certificate.yaml"]
    assert "/cert.pem" not in str(common), "what the bootstrap names is read once"
    written = {name: yaml.safe_load(text)["resources"] for name, text in render_sds(options).items()}
    assert list(written) == ["control-plane-ca.yaml", "client-certificate.yaml"]
    (authorities,), (certificate,) = written.values()
    assert [authorities["name"], certificate["name"]] == [reference["name"] for reference in references]
    assert authorities["validation_context"] == {"trusted_ca": {"filename": "/ca.pem"}}
    assert certificate["tls_certificate"] == {
        "certificate_chain": {"filename": "/cert.pem"},
        "private_key": {"filename": "/key.pem"},
    }


def test_files_to_watch_are_those_that_there_are() -> None:
    assert list(render_sds(Bootstrap("n", ca_file="/ca.pem", sds_dir="/sds"))) == ["control-plane-ca.yaml"]
    assert render_sds(Bootstrap("n", ca_file="/ca.pem")) == {}


def test_tls_to_an_address_has_no_sni() -> None:
    context = control_plane(xds_address="[::1]:443", ca_file="/ca.pem")["transport_socket"]["typed_config"]
    assert "sni" not in context
    names = context["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
    assert names == [{"san_type": "IP_ADDRESS", "matcher": {"exact": "::1"}}]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"node_id": ""}, "--node-id is empty"),
        ({"node_cluster": ""}, "--node-cluster is empty"),
        ({"xds_address": "control.example"}, "--xds-address 'control.example' is not HOST:PORT"),
        ({"xds_address": "::1:18000"}, r"\[::1\]:18000"),
        ({"xds_address": "http://a:1"}, "is not HOST:PORT"),
        ({"xds_address": ":18000"}, "is not HOST:PORT"),
        ({"xds_address": "a b:18000"}, "is not HOST:PORT"),
        ({"xds_address": "a:70000"}, "'70000' is not a port"),
        ({"xds_address": "a:0"}, "port 0"),
        ({"xds_address": "a:http"}, "'http' is not a port"),
        ({"static_listener": 70000}, "--static-listener: '70000' is not a port"),
        ({"static_listener": -1}, "--static-listener: '-1' is not a port"),
        ({"static_listener": 1, "static_listener_address": "localhost"}, "'localhost' is not an IP address"),
        ({"admin_address": "localhost:9901"}, "'localhost' is not an IP address"),
        ({"cert_file": "/cert.pem"}, "--cert and --key go together"),
        ({"cert_file": "/cert.pem", "key_file": "/key.pem"}, "need --ca"),
        ({"sds_dir": "/sds"}, "--sds-dir needs --ca"),
    ],
)
def test_options_that_envoy_could_not_use(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Bootstrap(**{"node_id": "edge-1", **options})


@pytest.mark.parametrize(
    ("protocol", "source"),
    [("delta", "ads"), ("sotw", "ads"), ("per-type", "api_config_source"), ("rest", "api_config_source")],
)
def test_the_local_cluster_takes_its_endpoints_as_all_others_do(protocol: str, source: str) -> None:
    made = rendered(local_cluster="envoys", zone="eu-1a", protocol=protocol, static_listener=0)
    assert made["cluster_manager"] == {"local_cluster_name": "envoys"}
    cluster = made["static_resources"]["clusters"][1]
    assert (cluster["name"], cluster["type"]) == ("envoys", "EDS")
    assert source in cluster["eds_cluster_config"]["eds_config"]


@pytest.mark.parametrize(
    ("options", "word"),
    [({"local_cluster": "envoys"}, "--zone"), ({"local_cluster": "xds-server.internal", "zone": "z"}, "no upstream")],
)
def test_a_local_cluster_that_would_do_nothing_is_refused(options: dict[str, str], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Bootstrap(node_id="a", **options)
