"""The library on its own: the example, versions that callers give, and what no part of it needs."""

import re
import signal
import socket
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from scripted_client import Client, cluster, names_of

import xds_server.xds
from xds_server.bootstrap import Bootstrap
from xds_server.testing import Backend, EnvoyProcess, send
from xds_server.xds import CLUSTER, Limits, Resource, Snapshot


def code_lines(path: Path) -> int:
    code = path.read_text(encoding="utf-8").split('"""', 2)[2]
    return len([line for line in code.splitlines() if line.strip()])


@pytest.mark.envoy
def test_the_example_serves_an_envoy_and_changes_it_live(root: Path) -> None:
    example = root / "examples" / "library.py"
    assert code_lines(example) <= 45, "short enough to be read at a glance"
    with Backend("one") as one, Backend("two") as two:
        server = subprocess.Popen(
            [sys.executable, example, "127.0.0.1:0", one.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdin is not None
            assert server.stdout is not None
            port = server.stdout.readline().split()[-1]
            bootstrap = Bootstrap(node_id="edge-1", xds_address=f"127.0.0.1:{port}", static_listener=0)
            with EnvoyProcess(bootstrap) as envoy:
                envoy.wait_for_endpoints("hello", {one.address: "HEALTHY"})
                assert send(envoy.listener_port("static"), "hello", 10) == {"one": 10}
                server.stdin.write(f"nonsense\n127.0.0.1:99999\n{two.address}\n")
                server.stdin.flush()
                envoy.wait_for_endpoints("hello", {two.address: "HEALTHY"})
                assert send(envoy.listener_port("static"), "hello", 10) == {"two": 10}
            server.send_signal(signal.SIGINT)  # its input stays open
            assert server.wait(10) == 0
            _, said = server.communicate(timeout=10)
            assert said.count("ignored: ") == 2
            assert "Traceback" not in said
            assert "sent Cluster" in said
            assert "acknowledged ClusterLoadAssignment" in said
        finally:
            server.kill()
            server.wait()


def test_the_example_says_what_it_cannot_do_in_one_sentence(root: Path) -> None:
    def said(*args: str) -> str:
        command = [sys.executable, str(root / "examples" / "library.py"), *args]
        done = subprocess.run(command, input="", capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stderr

    assert said().startswith("usage: ")
    assert "invalid literal" in said("127.0.0.1:0", "x")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"cannot listen on {address}" in said(address, "127.0.0.1:8001")


def test_S10_S68_callers_may_give_versions_of_their_own(either: Client) -> None:
    named = Resource.encode(CLUSTER, "a", cluster("a").body, version="mine-1")
    either.publish(Snapshot.of([named], versions={CLUSTER: "all-1"}))
    (answer,) = either.ask(CLUSTER)
    if either.delta:
        assert (answer.system_version_info, answer.resources[0].version) == ("all-1", "mine-1")
    else:
        assert answer.version_info == "all-1"
    either.ack(answer)
    # The same version is the same content, whatever the bytes: the caller said so.
    same = Resource.encode(CLUSTER, "a", cluster("a", 2).body, version="mine-1")
    assert either.group.snapshot is not None
    either.publish(either.group.snapshot.change([same]))
    assert either.sent() == []
    newer = Resource.encode(CLUSTER, "a", cluster("a", 2).body, version="mine-2")
    either.publish(either.group.snapshot.change([newer], versions={CLUSTER: "all-2"}))
    (answer,) = either.sent()
    assert names_of(answer) == ["a"]
    assert (answer.system_version_info if either.delta else answer.version_info) == "all-2"


def test_D24_a_resource_cannot_be_served_under_another_name() -> None:
    from envoy.config.cluster.v3 import cluster_pb2

    with pytest.raises(ValueError, match="named 'a' cannot be served under another name, 'b'"):
        Resource.of(cluster_pb2.Cluster(name="a"), name="b")


def test_the_library_needs_no_other_room() -> None:
    code = "import sys, xds_server.xds; print([m for m in sys.modules if m.startswith('xds_server.')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "xds_server.xds" in loaded
    assert "upstreams" not in loaded
    assert "starlette" not in loaded


def test_the_names_of_the_guide_can_be_imported(root: Path) -> None:
    text = (root / "docs" / "library.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([A-Z][a-z]\w+)[`(.]", text)) - {"Fetch"}
    assert {"DiscoveryServer", "InvalidResourceError", "Node", "Snapshot"} <= named
    assert sorted(named - set(xds_server.xds.__all__) - {"Cluster"}) == []


def test_the_documented_limits_are_the_real_ones(root: Path) -> None:
    text = (root / "docs" / "library.md").read_text(encoding="utf-8")
    documented = {
        row.split("|")[1].strip(" `"): row.split("|")[2].strip() for row in text.splitlines() if row.startswith("| `")
    }
    assert documented == {field.name: f"{field.default:,}" for field in fields(Limits)}
