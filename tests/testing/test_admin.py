"""What the admin interface says, read from answers made up here: an Envoy for each would be slow."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread, Timer
from typing import Any

import pytest

from xds_server.testing.admin import EnvoyAdmin


class FakeEnvoy(EnvoyAdmin):
    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.running = True
        answers = self.answers

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                self.send_response(200 if path in answers else 404)
                self.end_headers()
                self.wfile.write(json.dumps(answers.get(path)).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def is_running(self) -> bool:
        return self.running

    @property
    def log(self) -> str:
        return "".join(f"line {i}\n" for i in range(100))


@pytest.fixture
def envoy() -> Iterator[FakeEnvoy]:
    fake = FakeEnvoy()
    thread = Thread(target=fake.server.serve_forever, args=(0.01,))
    thread.start()
    yield fake
    fake.server.shutdown()
    thread.join()
    fake.server.server_close()


def host(address: str, **health: Any) -> dict[str, Any]:
    return {"address": {"socket_address": {"address": address, "port_value": 80}}, "health_status": health}


def test_the_worst_reason_against_an_endpoint(envoy: FakeEnvoy) -> None:
    hosts = [
        host("10.0.0.1", eds_health_status="HEALTHY"),
        host("10.0.0.2", eds_health_status="DRAINING", failed_active_health_check=True),
        host("10.0.0.3", eds_health_status="HEALTHY", failed_active_health_check=True),
        host("10.0.0.4", eds_health_status="HEALTHY", failed_outlier_check=True),
        host("::1"),
    ]
    envoy.answers["/clusters"] = {"cluster_statuses": [{"name": "w", "host_statuses": hosts}]}
    assert envoy.endpoints("w") == {
        "10.0.0.1:80": "HEALTHY",
        "10.0.0.2:80": "DRAINING",
        "10.0.0.3:80": "FAILED_ACTIVE_HC",
        "10.0.0.4:80": "EJECTED",
        "[::1]:80": "HEALTHY",
    }
    assert envoy.endpoints("unknown") == {}


def test_an_answer_that_is_not_200_is_an_error(envoy: FakeEnvoy) -> None:
    with pytest.raises(OSError, match="404 to /nothing"):
        envoy.admin("/nothing")


def test_waiting_in_vain_shows_what_was_last_seen_and_the_end_of_the_log(envoy: FakeEnvoy) -> None:
    envoy.answers["/clusters"] = {"cluster_statuses": [{"name": "w", "host_statuses": [host("10.0.0.1")]}]}
    with pytest.raises(TimeoutError) as failure:
        envoy.wait_for_endpoints("w", {"10.0.0.2:80": "HEALTHY"}, timeout=0.05)
    text = str(failure.value)
    assert "10.0.0.2:80" in text
    assert "at the end: {'10.0.0.1:80': 'HEALTHY'}" in text
    assert "line 99" in text
    assert "line 1\n" not in text


def test_an_admin_interface_that_is_not_there_yet_is_waited_for(envoy: FakeEnvoy) -> None:
    Timer(0.1, envoy.answers.update, [{"/ready": "LIVE"}]).start()
    envoy.wait_for_ready(5)
    with pytest.raises(TimeoutError, match=r"last error: .*404 to /gone"):
        envoy.wait_until(lambda: envoy.admin("/gone"), 0.05)


def test_waiting_ends_when_envoy_does(envoy: FakeEnvoy) -> None:
    envoy.running = False
    with pytest.raises(RuntimeError, match="ended while waiting for the world"):
        envoy.wait_until(lambda: False, 30, "the world")
