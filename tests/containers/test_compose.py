"""What the compose files of deploy/ say comes up and serves, here through the Docker API (`compose_file`)."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from compose_file import Composed

from xds_server.testing import Load, assert_shares, request, send
from xds_server.testing.api import ManagementApi
from xds_server.testing.waiting import wait_until

HOST = "hello.example"
CONTROL_PLANES = ("control-plane-1", "control-plane-2")
CONNECT = """
import errno, socket, sys
try:
    socket.create_connection((sys.argv[1], 18080), timeout=2)
except (socket.gaierror, TimeoutError):
    print("no way there")
except OSError as error:
    print("no way there" if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH) else error)
else:
    print("connected")
"""
"""Told by kind, as every C library has its own words."""
SHARES = {"backend-1": 2, "backend-2": 1, "backend-3": 1}


class Api(ManagementApi):
    def __init__(self, port: int) -> None:
        self.http_address = f"127.0.0.1:{port}"


@pytest.fixture
def variables(server_image: str, envoy_image: str) -> Mapping[str, str]:
    return {"XDS_SERVER_IMAGE": server_image, "ENVOY_IMAGE": envoy_image, "POSTGRES_PASSWORD": os.urandom(16).hex()}


def first_target(running: Composed) -> str:
    return f"/v1/upstreams/hello/targets/{running.here('10.89.7.11')}:8000"


def has_the_envoy(running: Composed, service: str) -> bool:
    """Whether it is connected to this very one: all show all, but metrics are of what each does itself."""
    metrics = Api(running.port(service, 18080)).api("GET", "/metrics")
    return re.search(r"^xds_server_nodes\{.*\} 1\.0$", metrics, re.MULTILINE) is not None


def wait_until_served(running: Composed) -> int:
    """Wait until Envoy forwards, and returns its port."""

    def served() -> bool:
        try:
            return request(running.port("envoy", 10000), HOST, timeout=2).status == 200
        except (OSError, EOFError, KeyError):
            return False

    wait_until(served, 60, running.logs)
    return running.port("envoy", 10000)


def test_the_demo_shares_and_follows_a_change_and_its_backends_cannot_make_one(
    root: Path, variables: Mapping[str, str]
) -> None:
    with Composed(root / "deploy" / "compose.yaml", variables) as running:
        port = wait_until_served(running)
        # A backend that is still starting refuses connections, and its share is retried at the others.
        wait_until(lambda: send(port, HOST, 20).keys() == SHARES.keys(), 30, running.logs)
        assert_shares(send(port, HOST, 200), SHARES)
        api = Api(running.port("control-plane", 18080))
        revision = api.api("PATCH", first_target(running), {"weight": 0})["revision"]
        api.wait_until_acknowledged(revision)
        wait_until(lambda: "backend-1" not in send(port, HOST, 20), 5, lambda: "the weight")
        assert_shares(send(port, HOST, 100), {"backend-2": 1, "backend-3": 1})
        # A web page whose name was made to lead here is not told anything.
        for name, status in (("localhost", 200), ("control-plane", 200), ("evil.example", 403)):
            assert request(running.port("control-plane", 18080), name, path="/v1/nodes").status == status, name
        networks = running["control-plane"].attrs["NetworkSettings"]["Networks"].values()
        for host in ("control-plane", *(each["IPAddress"] for each in networks)):
            code, output = running["backend-1"].exec_run(["python", "-c", CONNECT, host])
            assert (code, output) == (0, b"no way there\n"), host


def test_two_control_planes_on_postgresql_go_on_as_one(
    root: Path, variables: Mapping[str, str], postgres_image: str
) -> None:
    file = root / "deploy" / "compose.postgresql.yaml"
    with Composed(file, {**variables, "POSTGRES_IMAGE": postgres_image}) as running:
        port = wait_until_served(running)
        wait_until(lambda: send(port, HOST, 20).keys() == SHARES.keys(), 30, running.logs)
        assert_shares(send(port, HOST, 200), SHARES)
        assert running["database"].exec_run(["stat", "-c", "%U", "/proc/1"]).output == b"postgres\n"
        with Load(port, HOST, rate=100) as load:
            serving, spare = CONTROL_PLANES if has_the_envoy(running, CONTROL_PLANES[0]) else reversed(CONTROL_PLANES)
            assert not has_the_envoy(running, spare)
            running[serving].kill()
            api = Api(running.port(spare, 18080))
            revision = api.api("PATCH", first_target(running), {"state": "draining"})["revision"]
            api.wait_until_acknowledged(revision, timeout=60)
            assert has_the_envoy(running, spare)
            wait_until(lambda: "backend-1" not in send(port, HOST, 20), 10, lambda: "the drain")
        assert load.failures == 0, load.errors
        with pytest.raises(KeyError, match="choose one"):
            Composed(file, {})
