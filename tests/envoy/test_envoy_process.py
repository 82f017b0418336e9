"""EnvoyProcess itself: what it starts, shows and leaves behind."""

import os
import signal
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from xds_server.bootstrap import Bootstrap
from xds_server.testing import EnvoyProcess

pytestmark = pytest.mark.envoy

LISTENER = """
static_resources:
  listeners:
  - name: one
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.echo
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}
  clusters:
  - name: w.with.dots
    load_assignment: {cluster_name: w.with.dots, endpoints: [{lb_endpoints: [
      {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}}]}]}
"""


@pytest.fixture(autouse=True)
def temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary directories are made; empty at the end."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_reads_the_admin_interface() -> None:
    with EnvoyProcess(LISTENER) as envoy:
        envoy.wait_for_ready()
        envoy.wait_for_cluster("w.with.dots")
        envoy.wait_for_endpoints("w.with.dots", {"127.0.0.1:1": "HEALTHY"})
        assert list(envoy.clusters()) == ["w.with.dots"]
        assert envoy.listener_port("one") > 0
        with pytest.raises(KeyError, match="no listener 'two'"):
            envoy.listener_port("two")
        assert envoy.stat("cluster.w.with.dots.membership_total") == 1
        assert envoy.stats(r"dots\.membership_(total|healthy)$") == {
            "cluster.w.with.dots.membership_total": 1,
            "cluster.w.with.dots.membership_healthy": 1,
        }
        assert envoy.stat("no.such.stat") == 0
        kinds = {config["@type"].rpartition(".")[2] for config in envoy.config_dump()["configs"]}
        assert {"BootstrapConfigDump", "ClustersConfigDump", "EndpointsConfigDump"} <= kinds
        only = envoy.config_dump("static_clusters")["configs"]
        assert [config["cluster"]["name"] for config in only] == ["w.with.dots"]


def test_two_at_once_and_each_again() -> None:
    options = Bootstrap(node_id="n", static_listener=0, static_listener_address="127.0.0.1")
    with EnvoyProcess(options) as one, EnvoyProcess(options) as other:
        assert one.admin_url != other.admin_url
        first = one.pid
        one.stop()
        one.start()
        assert one.pid != first
        with pytest.raises(RuntimeError, match="running already"):
            one.start()


def test_nothing_is_left_but_the_log(temporary_directory: Path) -> None:
    with EnvoyProcess(LISTENER) as envoy:
        pid = envoy.pid
        assert list(temporary_directory.iterdir()) != []
    assert not exists(pid)
    assert not envoy.is_running
    assert "active downstream connections" in envoy.log
    with pytest.raises(RuntimeError, match="`with` block"):
        _ = envoy.admin_url
    envoy.stop()


def test_a_failing_test_is_shown_the_log_and_leaves_nothing() -> None:
    envoy = EnvoyProcess(LISTENER)
    with pytest.raises(AssertionError, match="wrong") as failure, envoy:
        raise AssertionError("wrong")
    assert not envoy.is_running
    assert "active downstream connections" in failure.value.__notes__[0]


def test_a_refused_bootstrap_shows_envoys_reason() -> None:
    with pytest.raises(RuntimeError, match="no_such_field"), EnvoyProcess("no_such_field: 1"):
        pass


@pytest.mark.parametrize(("text", "problem"), [("{", "is not YAML"), ("envoy/ads.yaml", "not its path")])
def test_what_is_no_bootstrap_at_all(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        EnvoyProcess(text)


def test_a_binary_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError, match="no-envoy"), EnvoyProcess(LISTENER, binary=Path("no-envoy")):
        pass


def test_suspended_it_answers_nothing_and_goes_on_when_resumed() -> None:
    with EnvoyProcess(LISTENER) as envoy:
        envoy.suspend()
        envoy.wait_until(lambda: process_state(envoy.pid) == "T", what="Envoy to stand still")
        with pytest.raises(TimeoutError):
            urllib.request.urlopen(envoy.admin_url + "/ready", timeout=0.1)
        envoy.resume()
        envoy.wait_until(lambda: process_state(envoy.pid) != "T", what="Envoy to go on")
        assert "LIVE" in envoy.admin("/ready")
        envoy.suspend()


def process_state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_crash_ends_waiting_at_once() -> None:
    with EnvoyProcess(LISTENER) as envoy:
        os.kill(envoy.pid, signal.SIGKILL)
        with pytest.raises(RuntimeError, match="Envoy ended while waiting for nothing"):
            envoy.wait_until(lambda: False, 30, "nothing")


def test_kill() -> None:
    with EnvoyProcess(LISTENER) as envoy:
        pid = envoy.pid
        envoy.kill()
        assert not exists(pid)
        assert not envoy.is_running
