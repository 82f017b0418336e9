"""The commands as users run them: what they print, where, and with which exit code."""

import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml
from dns_server import DnsServer

from xds_server import __version__
from xds_server.cli.connection import VARIABLES
from xds_server.settings import Settings
from xds_server.testing.server import XdsServerProcess

GOOD = """\
upstreams:
  - name: payments
    hostnames: [payments.example]
    targets:
      - {host: 10.0.0.1, port: 8080}
gateways:
  - {name: public, port: 10000}
"""


def run(*args: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """In a directory of its own: `serve` keeps its store where it is started."""
    command = [sys.executable, "-m", "xds_server", *map(str, args)]
    with tempfile.TemporaryDirectory() as directory:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=directory, env=env)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


def test_validate_says_what_where_and_how_for_every_mistake(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "upstreams:\n"
        "  - name: a b\n"
        "    algorithm: round-robbin\n"
        "    targets:\n"
        "      - {host: 10.0.0.1, port: 70000}\n"
        "      - {host: 10.0.0.2, port: 80, wieght: 1}\n"
        "    timeout: 5\n"
    )
    done = run("validate", path)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{path}:{n}" for n in (2, 3, 5, 6, 7)]
    for line, words in zip(lines, ("a-z", "round-robin", "65535", "weight", "5s"), strict=True):
        assert words in line
    assert "Traceback" not in done.stderr


def test_validate_accepts_sound_files(good: Path) -> None:
    done = run("validate", good)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "sound: 1 upstream(s), 1 gateway(s)\n"


def test_validate_of_nothing_is_a_problem(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        done = run("validate", path)
        assert done.returncode == 1
        assert str(path) in done.stdout


def test_validate_warns_of_what_will_surprise_and_accepts_it(tmp_path: Path) -> None:
    path = tmp_path / "surprising.yaml"
    path.write_text(
        "upstreams:\n"
        "  - name: plain\n"
        "  - name: payments\n"
        "    targets:\n"
        "      - {host: 10.0.0.1, port: 80}\n"
        "      - host: 10.0.0.2\n"
        "        port: 80\n"
        "        priority: 1\n"
        "    limits: {max_connections: 10}\n"
    )
    done = run("validate", path)
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{path}:8: upstreams[1].targets[1].priority: warning: ")
    assert line.endswith("[failover-without-checks]")
    assert done.stderr == "sound: 2 upstream(s), 0 gateway(s), 1 warning(s)\n"
    of_a_fleet = run("validate", path, "--envoys", "30").stdout.splitlines()
    assert [line.split(": ")[0] for line in of_a_fleet] == [f"{path}:8", f"{path}:9"]
    assert "max_connections 300" in of_a_fleet[1]


@pytest.mark.feature("Lints", "short-ttl: resolve: envoy is suggested for public names with short TTLs")
@pytest.mark.feature("Lints", "srv-weights-ignored: the records have weights, and the algorithm shares equally")
def test_validate_looks_names_up_when_asked_to(tmp_path: Path) -> None:
    path = tmp_path / "named.yaml"
    path.write_text(
        "upstreams:\n"
        "  - name: outside\n"
        "    targets:\n"
        "      - {host: api.test, port: 443}\n"
        "  - name: inside\n"
        "    targets: [{host: db.test, port: 443}, {host: _db._tcp.test, port: srv}]\n"
    )
    with DnsServer() as names:
        names.set("api.test", A=["8.8.8.8"], ttl=20)
        names.set("db.test", A=["10.0.0.1"], ttl=20)
        names.set("_db._tcp.test", SRV=["1 1 80 db.test.", "1 3 81 db.test."], ttl=20)
        done = run("validate", path, "--dns-servers", names.address)
        assert not run("validate", path).stdout
        assert names.asked("api.test") == 1
    assert done.returncode == 0
    short, weights = done.stdout.splitlines()
    assert short.startswith(f"{path}:4: upstreams[0].targets[0].host: warning: ")
    assert "for 20 s only" in short
    assert short.endswith("[short-ttl]")
    assert weights.startswith(f"{path}:6: upstreams[1].targets[1].port: warning: ")
    assert weights.endswith("[srv-weights-ignored]")
    refused = run("validate", path, "--dns-servers", "nowhere")
    assert refused.returncode == 2
    assert "'nowhere' is not a name server" in refused.stderr


def test_a_gateway_to_an_upstream_of_the_api(tmp_path: Path) -> None:
    path = tmp_path / "g.yaml"
    path.write_text("gateways: [{name: g, port: 5432, upstream: of-the-api}]\n")
    for command in ("validate", "translate"):
        refused = run(command, path, "--api-upstream", "another")
        assert refused.returncode == 1
        assert "there is no upstream 'of-the-api'" in refused.stdout + refused.stderr
        assert run(command, path, "--api-upstream", "another", "--api-upstream", "of-the-api").returncode == 0


@pytest.mark.envoy
def test_validate_with_envoy_loads_everything(good: Path) -> None:
    done = run("validate", good, "--with-envoy")
    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch(r"sound, and Envoy 1\.\d+\.\d+ takes it: 1 upstream\(s\), 1 gateway\(s\)\n", done.stderr)


@pytest.mark.envoy
def test_validate_with_envoy_finds_what_only_envoy_knows(tmp_path: Path) -> None:
    path = tmp_path / "refused.yaml"
    # A size that no rule of the field forbids: Envoy itself wants a prime.
    size = {"table_size": 100}
    policy = {"@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.maglev.v3.Maglev", **size}
    extension = {"typed_extension_config": {"name": "maglev", "typed_config": policy}}
    refused = {"name": "odd", "envoy": {"load_balancing_policy": {"policies": [extension]}}}
    sound = [{"name": f"sound-{n}"} for n in range(5)]
    path.write_text(yaml.safe_dump({"upstreams": [*sound, refused]}))
    done = run("validate", path, "--with-envoy")
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    assert "upstream odd" in line
    assert "prime" in line


def test_translate_prints_envoy_resources(good: Path) -> None:
    shown = yaml.safe_load(run("translate", good).stdout)["resources"]
    kinds = [resource["@type"].rpartition(".")[2] for resource in shown]
    assert kinds == ["Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration"]
    only = json.loads(run("translate", good, "--name", "payments", "--type", "endpoints", "-o", "json").stdout)
    (assignment,) = only["resources"]
    address = assignment["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    assert address == {"address": "10.0.0.1", "port_value": 8080}


def test_translate_shows_what_an_envoy_of_a_zone_is_sent(root: Path) -> None:
    def first(*options: str) -> list[str]:
        done = run("translate", root / "examples" / "nearest.yaml", "--type", "endpoints", "-o", "json", *options)
        (assignment,) = json.loads(done.stdout)["resources"]
        return [group["locality"]["zone"] for group in assignment["endpoints"] if not group.get("priority")]

    assert first() == ["eu-1a", "eu-1b", "us-1a"]
    assert first("--region", "eu", "--zone", "eu-1b") == ["eu-1b"]


def test_translate_tells_names_that_cannot_be_resolved_beside_its_output(tmp_path: Path) -> None:
    path = tmp_path / "named.yaml"
    path.write_text("upstreams: [{name: a, targets: [{host: nowhere.invalid, port: 80}]}]")
    done = run("translate", path, "-o", "json")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["resources"]) == 3
    assert "dns.failed" in done.stderr
    assert "nowhere.invalid" in done.stderr


def test_translate_names_the_words_that_an_option_may_be(good: Path) -> None:
    done = run("translate", good, "--type", "nope")
    assert done.returncode == 2
    assert "'nope' is not one of cluster, endpoints, listener, route" in done.stderr
    assert "Value error" not in done.stderr


def test_translate_says_beside_its_output_that_there_is_nothing(good: Path) -> None:
    done = run("translate", good, "--name", "public", "--type", "cluster")
    assert (done.returncode, yaml.safe_load(done.stdout)) == (0, {"resources": []})
    assert done.stderr == "nothing: public has no resource of the kind cluster\n"


def test_a_variable_is_named_as_such(good: Path) -> None:
    done = run("serve", "--definitions", good, env={"XDS_SERVER_LOG_FORMAT": "xml", "PATH": ""})
    assert done.returncode == 1
    assert "XDS_SERVER_LOG_FORMAT: 'xml'" in done.stderr
    assert "--log-format" not in done.stderr


def test_a_variable_that_is_no_option_is_told() -> None:
    names = ("XDS_SERVER_DEFINITION", "XDS_SERVER_ENVOY_IMAGE", "XDS_SERVER_IMAGE", *VARIABLES)
    done = run("serve", "--store", "none://", env={"PATH": "", **dict.fromkeys(names, "x")})
    assert done.returncode == 1
    assert "the variable XDS_SERVER_DEFINITION is ignored" in done.stderr
    assert "did you mean XDS_SERVER_DEFINITIONS?" in done.stderr
    assert done.stderr.count("is ignored") == 1, "the others are of other commands"


def test_translate_of_an_unknown_name_says_so(good: Path) -> None:
    done = run("translate", good, "--name", "nobody")
    assert done.returncode == 1
    assert "'nobody'" in done.stderr


def test_bootstrap_prints_a_bootstrap() -> None:
    done = run("bootstrap", "--node-id", "e1", "--static-listener", "10000", "--metadata", "tier=gold", "--sotw")
    shown = yaml.safe_load(done.stdout)
    assert shown["node"]["id"] == "e1"
    assert shown["node"]["metadata"] == {"tier": "gold"}
    assert shown["dynamic_resources"]["ads_config"]["api_type"] == "GRPC"
    assert len(shown["static_resources"]["listeners"]) == 1


@pytest.mark.parametrize("protocol", ["--delta", "--sotw", "--per-type", "--rest"])
def test_bootstrap_says_nothing_but_the_bootstrap(protocol: str) -> None:
    assert run("bootstrap", "--node-id", "e1", protocol).stderr == ""


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--sotw", "--rest"], "exclude each other"),
        (["--metadata", "gold"], "KEY=VALUE"),
        (["--xds-address", "nowhere"], "--xds-address"),
        (["--cert", "c.pem"], "--key"),
    ],
)
def test_bootstrap_refuses_what_cannot_work(args: list[str], words: str) -> None:
    done = run("bootstrap", "--node-id", "e1", *args)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_version_is_told() -> None:
    assert run("--version").stdout.strip() == __version__


def test_schema_is_json_schema() -> None:
    shown = json.loads(run("schema").stdout)
    assert shown["$schema"].startswith("https://json-schema.org/")
    assert set(shown["properties"]) == {"upstreams", "gateways"}


def test_serve_with_a_store_that_cannot_be_says_why(tmp_path: Path) -> None:
    for store, problem in {
        "mysql://somewhere": "a store is sqlite:///FILE or postgresql://USER@HOST/DATABASE, not mysql",
        f"sqlite:///{tmp_path}/nowhere/x.db": f"there is no directory {tmp_path}/nowhere",
        "postgresql://u:secret@127.0.0.1:1/x": "the store postgresql://u:***@127.0.0.1:1/x cannot be opened",
    }.items():
        done = run("serve", "--store", store)
        assert done.returncode == 1
        assert problem in done.stderr
        assert "Traceback" not in done.stderr
        assert "secret" not in done.stderr


def test_serve_on_a_port_that_is_taken_says_so(good: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("serve", "--definitions", good, "--xds-address", address, "--http-address", "127.0.0.1:0")
    assert done.returncode == 1
    assert f"cannot listen on {address}" in done.stderr
    assert "--xds-address" in done.stderr
    assert "Traceback" not in done.stderr
    assert "server.stopped" not in done.stderr, "it never started"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--log-format", "xml"], "--log-format: 'xml': input should be 'text' or 'json'"),
        (["--xds-address", "18000"], "--xds-address"),
        (["--xds-address", "127.0.0.1:99999"], "--xds-address"),
        (["--dns-servers", "10.0.0.2,ns.example"], "'ns.example' is not a name server"),
        (["--dns-servers", "10.0.0.2:0"], "--dns-servers"),
        (["--dns-servers", "[fd00::2]:x"], "--dns-servers"),
        (["--http-address", "::1:80"], "--http-address"),
        (["--grpc-address", "18081"], "--grpc-address"),
    ],
)
def test_serve_refuses_options_that_mean_nothing(good: Path, args: list[str], words: str) -> None:
    done = run("serve", "--definitions", good, *args)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_stops_gracefully(good: Path, number: signal.Signals) -> None:
    with XdsServerProcess(good) as server:
        process = server._running()
        process.send_signal(number)
        assert process.wait(10) == 0
        server.wait_until(lambda: server.events("server.stopped"), 5, "the last event")
        assert "Traceback" not in server.log
        assert all(line.startswith("{") for line in server.log.splitlines()), "every line of the log is JSON"


def test_name_servers_are_addresses_with_or_without_a_port() -> None:
    written = "10.0.0.2, 10.0.0.2:5353,fd00::2,[fd00::2]:53"
    assert Settings(dns_servers=written).dns_servers == ("10.0.0.2", "10.0.0.2:5353", "fd00::2", "[fd00::2]:53")  # type: ignore[arg-type]
    assert Settings().dns_servers == ()


@pytest.mark.parametrize("ignored", [False, True], ids=["", "inherited-as-ignored"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_in_order_while_it_is_starting(good: Path, number: signal.Signals, ignored: bool) -> None:
    address = ("--xds-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--grpc-address", "127.0.0.1:0")
    process = subprocess.Popen(
        [sys.executable, "-m", "xds_server", "serve", "--definitions", good, *address],
        stderr=subprocess.PIPE,
        text=True,
        cwd=good.parent,
        preexec_fn=lambda: signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 20
        # A library that its options need: it has begun, and has the server's own libraries still to load.
        while "pydantic_core" not in Path(f"/proc/{process.pid}/maps").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert "server.stopped" in said
    assert "Traceback" not in said


def test_serve_takes_its_options_from_the_environment(good: Path) -> None:
    env = {"XDS_SERVER_DEFINITIONS": str(good), "XDS_SERVER_XDS_ADDRESS": "nonsense", "PATH": ""}
    done = run("serve", env=env)
    assert done.returncode == 1
    assert "nonsense" in done.stderr


def test_the_log_for_people_has_no_lists_of_pythons() -> None:
    code = "import structlog, xds_server.log as log; log.configure('text'); structlog.get_logger().info('e', w=('a b', 'c'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "a b; c" in done.stderr
    assert "(" not in done.stderr


def test_no_command_ends_in_a_traceback_when_its_reader_leaves(good: Path) -> None:
    command = f"{sys.executable} -m xds_server schema | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr


def test_validate_checks_secrets_where_it_is_told_of_them(tmp_path: Path) -> None:
    path = tmp_path / "held.yaml"
    target = "targets: [{host: 10.0.0.1, port: 443}]"
    path.write_text(f"upstreams:\n  - name: held\n    tls: {{sni: a.internal, ca: corporate}}\n    {target}\n")
    done = run("validate", path)
    assert done.returncode == 0
    assert "not checked without --secrets-dir: 1 secret(s): corporate" in done.stderr
    done = run("validate", path, "--secrets-dir", tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{path}:3: upstreams[0].tls.ca: secret 'corporate': {tmp_path}/corporate/ca.crt")
    (tmp_path / "corporate").mkdir()
    certificates = Path(__file__).parents[1] / "envoy" / "certs"
    (tmp_path / "corporate" / "ca.crt").write_bytes((certificates / "ca.pem").read_bytes())
    assert run("validate", path, "--secrets-dir", tmp_path).returncode == 0
