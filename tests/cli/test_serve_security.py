"""`serve` as users secure it: what it refuses, what it says, and that nothing secret is in what it says."""

import os
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from certificates import Authority, Pair

from xds_server.testing.server import XdsServerProcess


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    path = tmp_path / "definitions.yaml"
    path.write_text("upstreams: [{name: payments, targets: [{host: 127.0.0.1, port: 80}]}]")
    return path


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Authority().issue(tmp_path / "server", "localhost")


def refusal(definitions: Path, *args: object, **environment: str) -> str:
    command = [sys.executable, "-m", "xds_server", "serve", "--definitions", definitions]
    command += ["--xds-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", *args]
    env = {**os.environ, **environment}
    done = subprocess.run(map(str, command), capture_output=True, text=True, timeout=60, check=False, env=env)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("xds-server: ")
    return line


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--xds-address", "0.0.0.0:0"], "--xds-address 0.0.0.0:0: other machines reach it, and could be any node"),
        (["--http-address", "[::]:0"], "--http-address [::]:0: other machines reach it, in plain text"),
        (["--tls-cert", "cert.pem"], "--tls-cert and --tls-key go together: give both or neither"),
        (["--tls-client-ca", "ca.pem"], "--tls-client-ca needs --tls-cert and --tls-key"),
        (["--client-roles", "ci=write"], "--client-roles needs --tls-client-ca"),
        (
            ["--client-roles", "ci=root"],
            "--client-roles: 'ci=root' is not NAME=ROLE, where the role is read, operate",
        ),
        (
            ["--allowed-hosts", "http://a"],
            "--allowed-hosts: 'http://a' is not the name of a host: write it without scheme",
        ),
        (["--allowed-hosts", " ,"], "--allowed-hosts: ' ,': it names no host: name one, or leave it out"),
        (["--node-names", "edge-1"], "--node-names: 'edge-1' holds neither {id} nor {cluster}"),
        (["--tls-cert", "/no.pem", "--tls-key", "/no.key"], "/no.pem cannot be read: No such file or directory"),
    ],
)
def test_what_must_not_or_cannot_be_is_refused(definitions: Path, args: list[str], said: str) -> None:
    assert said in refusal(definitions, *args)


def test_other_machines_are_let_in_by_tls_and_certificates(definitions: Path, pair: Pair, tmp_path: Path) -> None:
    tls = ["--tls-cert", str(pair.cert), "--tls-key", str(pair.key)]
    assert "could be any node: give --tls-client-ca" in refusal(definitions, *tls, "--xds-address", "0.0.0.0:0")
    assert "nothing says who may" in refusal(definitions, *tls, "--http-address", "0.0.0.0:0")
    authority = Authority().write(tmp_path / "ca.pem")
    tls += ["--tls-client-ca", str(authority)]
    with XdsServerProcess(definitions, xds_address="0.0.0.0:0", http_address="0.0.0.0:0", args=tls) as server:
        assert server.events("server.insecure") == []


def test_other_machines_are_let_in_by_those_who_say_so(definitions: Path) -> None:
    with XdsServerProcess(definitions, xds_address="0.0.0.0:0", args=["--insecure"]) as server:
        (told,) = server.events("server.insecure")
        assert (told["address"], told["level"]) == ("0.0.0.0:0", "warning")
        assert told["detail"] == "who reaches it may be any node and change anything"


def test_those_who_say_so_can_say_by_which_names(definitions: Path) -> None:
    args = ["--insecure", "--allowed-hosts", "control-plane, Other"]
    with XdsServerProcess(definitions, http_address="0.0.0.0:0", args=args) as server:
        port = server.http_address.rpartition(":")[2]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
            for host, status in (
                ("127.0.0.1", 200),
                ("control-plane:18080", 200),
                ("other", 200),
                ("evil.example", 403),
            ):
                assert http.get("/v1/nodes", headers={"Host": host}).status_code == status, host
            assert http.get("/readyz", headers={"Host": "evil.example"}).status_code == 200, "probes say what they like"


def test_options_come_from_the_environment(definitions: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDS_SERVER_TLS_CERT", str(pair.cert))
    monkeypatch.setenv("XDS_SERVER_TLS_KEY", str(pair.key))
    monkeypatch.setenv("XDS_SERVER_INSECURE", "true")
    with XdsServerProcess(definitions, xds_address="0.0.0.0:0") as server, httpx.Client(verify=False) as http:
        assert http.get(f"https://{server.http_address}/healthz").json() == {"status": "ok"}
        with pytest.raises(httpx.TransportError):
            http.get(f"http://{server.http_address}/healthz")


def test_the_http_port_is_open_to_pollers_only_where_they_show_who_they_are(definitions: Path, tmp_path: Path) -> None:
    servers, clients = Authority(), Authority()
    pair, ca = servers.issue(tmp_path / "server", "127.0.0.1"), clients.write(tmp_path / "ca.pem")
    args = ["--tls-cert", str(pair.cert), "--tls-key", str(pair.key), "--tls-client-ca", str(ca)]
    nobody = ssl.create_default_context(cadata=servers.pem.decode())
    edge = ssl.create_default_context(cadata=servers.pem.decode())
    edge.load_cert_chain(*clients.issue(tmp_path / "edge", "edge-1"))
    with XdsServerProcess(definitions, args=args) as server:
        url = f"https://{server.http_address}"
        poll = {"node": {"id": "edge-1", "cluster": "c"}}
        with httpx.Client(verify=nobody, base_url=url) as http:
            assert http.get("/healthz").status_code == 200
            refused = http.post("/v3/discovery:clusters", json=poll)
            assert refused.status_code == 403
            assert refused.json()["detail"] == (
                "this client says that it is node 'edge-1' of cluster 'c', and shows no certificate"
            )
        with httpx.Client(verify=edge, base_url=url) as http:
            assert http.post("/v3/discovery:clusters", json=poll).status_code == 200
            other = http.post("/v3/discovery:clusters", json={"node": {"id": "edge-2"}})
            assert (other.status_code, "'edge-2'" in other.json()["detail"]) == (403, True)
            assert "'edge-1'" in other.json()["detail"]


def token(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xds_server", "token", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def test_tokens_are_made_before_the_server_runs_and_revoked_while_it_does(definitions: Path, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/store.db"
    made = token("create", "reader", "--role", "read", "--store", store).stdout.strip()
    with XdsServerProcess(definitions, store=store, args=["--log-level", "debug"]) as server:
        url = f"http://{server.http_address}"
        with httpx.Client(base_url=url, headers={"authorization": f"Bearer {made}"}) as http:
            assert http.get("/healthz").status_code == 200
            assert http.get("/v1/upstreams").status_code == 200
            assert http.get("/metrics").status_code == 200
            refused = http.put("/v1/upstreams/x", json={"targets": []})
            assert (refused.status_code, "needs the role write, and 'reader' has read" in refused.text) == (403, True)
            assert http.request("GET", "/v1/upstreams", headers={"authorization": ""}).status_code == 401
            second = token("create", "writer", "--role", "write", "--store", store).stdout.strip()
            writer = {"authorization": f"Bearer {second}"}
            assert http.put("/v1/upstreams/x", json={"targets": []}, headers=writer).status_code == 201, "at once"
            token("revoke", "reader", "--store", store)
            server.wait_until(lambda: http.get("/v1/upstreams").status_code == 401, 10, "refusal of a revoked token")
            answers = [http.get("/nothing"), http.post("/v3/discovery:clusters", content=b"{"), refused]
            answers.append(http.get("/v1/revisions", headers=writer))
        assert "writer" in answers[-1].text, "who did it is in the history"
        with httpx.Client(base_url=url) as http:
            assert [http.get(path).status_code for path in ("/healthz", "/readyz", "/metrics", "/v1/upstreams")] == [
                200,
                200,
                401,
                401,
            ]
        for secret in (made[4:-8], second[4:-8]):
            assert secret not in server.log
            for answer in answers:
                assert secret not in answer.text + str(answer.headers)
    assert made[4:-8] not in (tmp_path / "store.db").read_bytes().decode(errors="replace")


def test_bootstrap_writes_the_files_by_which_envoy_reads_the_others_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "xds_server", "bootstrap", "--node-id", "edge-1"]
    command += ["--ca", "/ca.pem", "--cert", "/c.pem", "--key", "/k.pem", "--sds-dir", str(tmp_path / "new" / "sds")]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert f"{tmp_path}/new/sds/client-certificate.yaml" in done.stdout
        written = sorted(path.name for path in (tmp_path / "new" / "sds").iterdir())
        assert written == ["client-certificate.yaml", "control-plane-ca.yaml"]
