"""What is refused about health checks, where, and in which words."""

from typing import Any

import pytest
from told import problems

from xds_server.upstreams.model import Upstream
from xds_server.upstreams.model.probe_values import payload_bytes, status_bounds

TARGET = {"host": "10.0.0.1", "port": 80}
NAMED = {"host": "a.example", "port": 80}
ACTIVE, PASSIVE = "health_checks.active", "health_checks.passive"


def active(**fields: Any) -> dict[str, Any]:
    return {"health_checks": {"active": fields}}


def passive(**fields: Any) -> dict[str, Any]:
    return {"health_checks": {"passive": fields}}


def checked(**fields: Any) -> dict[str, Any]:
    return {"targets": [TARGET | {"health_check": fields}], **active()}


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        (active(type="tcp", path="/"), f"{ACTIVE}.path", "path has no meaning for tcp probes"),
        (active(type="grpc", expected_statuses=[200]), f"{ACTIVE}.type", "grpc probes need protocol: http2"),
        (active(send="x"), f"{ACTIVE}.send", "send has no meaning for http probes"),
        (active(type="tcp", expected_body=["x"]), f"{ACTIVE}.expected_body", "has no meaning for tcp probes"),
        (active(service="x"), f"{ACTIVE}.service", "service has no meaning for http probes"),
        (active(type="tcp", send="x"), f"{ACTIVE}.send", "unless it is to receive something: add receive"),
        (active(type="tcp", receive=["hex:0"]), f"{ACTIVE}.receive[0]", "is not hex: and pairs of hexadecimal digits"),
        (active(type="tcp", receive=[""]), f"{ACTIVE}.receive[0]", "may not be empty"),
        (active(body="x"), f"{ACTIVE}.body", "a GET has no body: use one of the methods POST, PUT, PATCH, OPTIONS"),
        (active(method="HEAD", expected_body=["x"]), f"{ACTIVE}.expected_body", "the answer to a HEAD has no body"),
        (active(expected_statuses=["200-99"]), f"{ACTIVE}.expected_statuses[0]", "nor a range of them such as 200-299"),
        (active(expected_statuses=["299-200"]), f"{ACTIVE}.expected_statuses[0]", "write 200-299"),
        (active(expected_statuses=["200"]), f"{ACTIVE}.expected_statuses[0]", "'200' is neither a status code"),
        (active(expected_statuses=[True]), f"{ACTIVE}.expected_statuses[0]", "neither a status code"),
        (active(expected_statuses=[600]), f"{ACTIVE}.expected_statuses[0]", "must be at most 599, found 600"),
        (active(expected_statuses=[]), f"{ACTIVE}.expected_statuses", "needs at least one entry"),
        (active(interval_jitter_percent=101), f"{ACTIVE}.interval_jitter_percent", "must be at most 100"),
        (active(unhealthy_interval="0s"), f"{ACTIVE}.unhealthy_interval", "must be at least 1ms"),
        (active(type="https"), f"{ACTIVE}.type", "the upstream has no tls: give the probes their own"),
        (active(type="https", plaintext=True), f"{ACTIVE}.plaintext", "https is not plaintext: use type: http"),
        (active(tls={"sni": "a"}, plaintext=True), f"{ACTIVE}.plaintext", "not both: leave out tls or plaintext"),
        (active(tls={"verify": False, "ca_file": "/a"}), f"{ACTIVE}.tls.ca_file", "no meaning with verify: false"),
        (active(tls={"cert_file": "/a", "sni": "a"}), f"{ACTIVE}.tls.cert_file", "unknown field 'cert_file'"),
        ({"targets": [TARGET], **active(tls={})}, f"{ACTIVE}.tls.sni", "a target given by IP address has no name"),
        ({"targets": [NAMED], **active(tls={})}, f"{ACTIVE}.tls.sni", "only where the upstream's own tls has no sni"),
        ({"targets": [NAMED], "tls": {"sni": "a"}, **active(tls={})}, f"{ACTIVE}.tls.sni", "asked by their own names"),
        (
            checked(path="/x"),
            "targets[0].health_check.path",
            "Envoy cannot give one target its own path: say it for all",
        ),
        (checked(interval="1s"), "targets[0].health_check.interval", "an upstream of its own"),
        (checked(type="tcp"), "targets[0].health_check.type", "Envoy cannot give one target its own type"),
        (checked(unhealthy_threshold=1), "targets[0].health_check.unhealthy_threshold", "cannot give one target"),
        (checked(host="x"), "targets[0].health_check.host", "unknown field 'host'; did you mean 'hostname'?"),
        (checked(prot=1), "targets[0].health_check.prot", "unknown field 'prot'; did you mean 'port'?"),
        (
            {"targets": [TARGET | {"health_check": {"hostname": "x"}}], **active(type="tcp")},
            "targets[0].health_check.hostname",
            "a tcp probe asks for no host",
        ),
        (
            {"targets": [TARGET | {"health_check": {"port": 81, "disabled": True}}], **passive()},
            "targets[0].health_check.port",
            "nothing is probed without health_checks.active: add it, or leave port out",
        ),
        (passive(consecutive_errors=0), f"{PASSIVE}.consecutive_errors", "nothing would ever be ejected"),
        (passive(consecutive_gateway_errors=0), f"{PASSIVE}.consecutive_gateway_errors", "must be at least 1"),
        (passive(max_ejection_time="29s"), f"{PASSIVE}.max_ejection_time", "is shorter than ejection_time"),
        (passive(uneject_on_passed_probe=True), f"{PASSIVE}.uneject_on_passed_probe", "there are no probes to pass"),
        (passive(failure_percentage={"threshold": 101}), f"{PASSIVE}.failure_percentage.threshold", "at most 100"),
        (passive(success_rate={"minimum_host": 1}), f"{PASSIVE}.success_rate.minimum_host", "did you mean"),
        (
            {"protocol": "tcp", **passive(error_statuses=[500])},
            f"{PASSIVE}.error_statuses",
            "is about HTTP answers, but protocol is tcp: use consecutive_errors",
        ),
        (
            {"protocol": "tcp", **passive(consecutive_gateway_errors=1)},
            f"{PASSIVE}.consecutive_gateway_errors",
            "is about HTTP answers, but protocol is tcp",
        ),
    ],
)
def test_is_refused(fields: dict[str, Any], place: str, message: str) -> None:
    found = dict(problems(**fields))
    assert message in found.get(place, ""), found


@pytest.mark.parametrize(
    "fields",
    [
        active(type="tcp", send="PING\r\n", receive=["+PONG", "hex:0D0a"]),
        active(type="tcp", receive=["220"]),
        active(method="POST", body="hex:00", expected_body=["a", "b"], expected_statuses=[204, "300-399"]),
        active(plaintext=True),
        active(type="https", tls={"verify": False}),
        active(type="https", tls={"sni": "a", "ca_file": "/a"}),
        {"targets": [NAMED], "tls": {}, **active(type="https", tls={"ca_file": "/a"})},
        {"targets": [TARGET], "tls": {"sni": "a"}, **active(type="https")},
        {"protocol": "http2", **active(type="grpc", service="x", headers={"a": "b"})},
        {"protocol": "tcp", **active(path="/primary")},
        {"targets": [TARGET | {"health_check": {"disabled": True}}]},
        {"targets": [TARGET | {"health_check": {"disabled": False}}], **passive()},
        checked(port=81, address="::1", hostname="x", disabled=True),
        passive(consecutive_errors=0, success_rate={}),
        passive(consecutive_errors=0, consecutive_local_errors=1),
        passive(max_ejection_time="30s", max_ejection_time_jitter="0s"),
        {"protocol": "tcp", **passive(consecutive_local_errors=1, failure_percentage={}, success_rate={})},
        {"health_checks": {"active": {}, "passive": {"uneject_on_passed_probe": True}}},
    ],
)
def test_is_legal_and_stays_so_when_it_is_written_back(fields: dict[str, Any]) -> None:
    assert problems(**fields) == []
    made = Upstream.model_validate({"name": "a", **fields})
    assert Upstream.model_validate_json(made.model_dump_json(exclude_defaults=True)) == made


def test_all_that_one_target_cannot_have_is_told() -> None:
    found = problems(**checked(timeout="1s", path="/x", prot=1))
    assert {field for field, _ in found} == {
        f"targets[0].health_check.{field}" for field in ("path", "timeout", "prot")
    }


@pytest.mark.parametrize(
    ("payload", "wire"), [("PING\r\n", b"PING\r\n"), ("é", b"\xc3\xa9"), ("hex:00Ff", b"\x00\xff"), ("hex", b"hex")]
)
def test_payloads_are_text_or_bytes(payload: str, wire: bytes) -> None:
    assert payload_bytes(payload) == wire


def test_statuses_are_codes_or_ranges() -> None:
    assert [status_bounds(status) for status in (404, "500-599")] == [(404, 404), (500, 599)]
