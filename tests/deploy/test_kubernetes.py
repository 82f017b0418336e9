"""The manifests of deploy/kubernetes: Kubernetes' own schemas take them, and what they start works together, as processes."""

from __future__ import annotations

import http.client
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from certificates import Authority, Pair, replace
from rig import free_port

from xds_server.bootstrap import Bootstrap, render, render_sds
from xds_server.testing import Backend, EnvoyProcess, XdsServerProcess, request

VERSIONS = ("1.30", "1.37")
"""Of Kubernetes: the oldest that they are for, and the newest that there are schemas of."""
FILES = ("control-plane.yaml", "edge.yaml", "sidecar.yaml")
TLS = "/etc/envoy-tls"


def documents(root: Path, *files: str) -> Iterator[dict[str, Any]]:
    for file in files or FILES:
        yield from yaml.safe_load_all((root / "deploy" / "kubernetes" / file).read_text())


def one(root: Path, file: str, kind: str) -> dict[str, Any]:
    (found,) = [each for each in documents(root, file) if each["kind"] == kind]
    return found


def pod(root: Path, file: str) -> dict[str, Any]:
    found: dict[str, Any] = one(root, file, "Deployment")["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_follow_the_schemas_of_kubernetes(root: Path, version: str) -> None:
    kinds = set()
    for document in documents(root):
        kubernetes_validate.validate(document, version, strict=True)
        kinds.add(document["kind"])
    assert kinds == {"ConfigMap", "Deployment", "PodDisruptionBudget", "Service"}, "nothing needs rights in the cluster"
    wrong = one(root, "edge.yaml", "Service") | {"no_such_field": 1}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


@pytest.mark.parametrize("file", FILES)
def test_selectors_and_mounts_name_what_there_is(root: Path, file: str) -> None:
    deployment = one(root, file, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for document in documents(root, file):
        selector = document.get("spec", {}).get("selector", {})
        assert selector.get("matchLabels", selector).items() <= labels.items(), document["kind"]
    spec = pod(root, file)
    volumes = {volume["name"] for volume in spec["volumes"]}
    maps = {volume["configMap"]["name"] for volume in spec["volumes"] if "configMap" in volume}
    assert maps == {one(root, file, "ConfigMap")["metadata"]["name"]}
    containers = [*spec["containers"], *spec.get("initContainers", [])]
    assert volumes == {mount["name"] for each in containers for mount in each.get("volumeMounts", [])}


@pytest.mark.parametrize("file", FILES)
def test_run_as_nobody_in_particular_and_write_nothing(root: Path, file: str) -> None:
    spec = pod(root, file)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in [*spec["containers"], *spec.get("initContainers", [])]:
        context = spec["securityContext"] | each["securityContext"]
        assert context["runAsNonRoot"], each["name"]
        assert each["name"] == "my-app" or context["runAsUser"] > 0, each["name"]
        assert context["readOnlyRootFilesystem"], each["name"]
        assert not context["allowPrivilegeEscalation"], each["name"]
        assert context["capabilities"] == {"drop": ["ALL"]}, each["name"]


FILES_OF_ENVOY = {
    "xds_address": "xds-server:18000",
    "ca_file": f"{TLS}/ca.crt",
    "cert_file": f"{TLS}/tls.crt",
    "key_file": f"{TLS}/tls.key",
    "sds_dir": "/etc/envoy",
}
ITS_OWN_LISTENER = {"static_listener": 10000, "static_listener_address": "127.0.0.1"}


@pytest.mark.parametrize(
    ("file", "cluster", "more"), [("edge.yaml", "edge", {}), ("sidecar.yaml", "my-app", ITS_OWN_LISTENER)]
)
def test_bootstraps_are_as_xds_server_renders_them(root: Path, file: str, cluster: str, more: dict[str, Any]) -> None:
    options = Bootstrap(node_id="named-by-its-pod", node_cluster=cluster, **FILES_OF_ENVOY, **more)
    wanted = {"bootstrap.yaml": render(options), **render_sds(options)}
    assert one(root, file, "ConfigMap")["data"] == wanted


class Cluster:
    """What stands for a Kubernetes: directories for its mounts, and an address for its service."""

    def __init__(self, root: Path, directory: Path) -> None:
        self.root, self.directory = root, directory
        self.servers, self.envoys = Authority(), Authority()

    def tls(self, pair: Pair, trusts: Authority) -> Path:
        place = pair.cert.with_suffix("")
        place.mkdir()
        for name, content in (("tls.crt", pair.cert), ("tls.key", pair.key)):
            (place / name).write_bytes(content.read_bytes())
        replace(place / "ca.crt", trusts.pem)
        return place

    def control_plane(self, backend: Backend) -> XdsServerProcess:
        """The arguments of the Deployment on the definitions of the ConfigMap; DNS and ports are this machine's."""
        definitions = self.directory / "definitions"
        definitions.mkdir()
        for name, text in one(self.root, FILES[0], "ConfigMap")["data"].items():
            text = text.replace("host: hello, port: 8080", f"host: {backend.host}, port: {backend.port}")
            (definitions / name).write_text(text.replace("port: 10000", f"port: {free_port()}"))
        tls = self.tls(self.servers.issue(self.directory / "server", "xds-server", "127.0.0.1"), self.envoys)
        places = {"/etc/xds-server/definitions": definitions, "/etc/xds-server/tls": tls}
        (container,) = pod(self.root, FILES[0])["containers"]
        arguments = [argument for argument in container["args"][1:] if not argument.startswith("--log-format")]
        for inside, outside in places.items():
            arguments = [argument.replace(inside, str(outside)) for argument in arguments]
        return XdsServerProcess(args=arguments)

    def envoy(self, file: str, cluster: str, server: XdsServerProcess, certificate: str = "") -> EnvoyProcess:
        names = [certificate or f"{cluster}.nodes.xds-server"]
        tls = self.tls(self.envoys.issue(self.directory / f"{cluster}-{len(names[0])}", *names), self.servers)
        config = self.directory / f"config-{cluster}-{len(names[0])}"
        config.mkdir()
        data = one(self.root, file, "ConfigMap")["data"]
        (container,) = [each for each in self.containers(file) if each["name"] == "envoy"]
        assert container["args"][:3] == ["envoy", "-c", "/etc/envoy/bootstrap.yaml"]
        places = {f"{TLS}/": f"{tls}/", "/etc/envoy/": f"{config}/", '"/etc/envoy"': f'"{config}"'}
        host, _, port = server.xds_address.rpartition(":")
        places |= {'address: "xds-server"': f'address: "{host}"', "port_value: 18000": f"port_value: {port}"}
        places["port_value: 10000"] = "port_value: 0"
        for name, text in data.items():
            for inside, outside in places.items():
                text = text.replace(inside, outside)
            (config / name).write_text(text)
        named = [argument.replace("$(POD_NAME)", f"{cluster}-7d9f") for argument in container["args"][3:]]
        return EnvoyProcess((config / "bootstrap.yaml").read_text(), args=named)

    def containers(self, file: str) -> list[dict[str, Any]]:
        spec = pod(self.root, file)
        return [*spec["containers"], *spec.get("initContainers", [])]


@pytest.mark.envoy
def test_what_they_start_works_together(root: Path, tmp_path: Path) -> None:
    """Mutual TLS, nodes named by their pods, and a listener for each cluster."""
    here = Cluster(root, tmp_path)
    with (
        Backend("hello") as backend,
        here.control_plane(backend) as server,
        here.envoy("edge.yaml", "edge", server) as edge,
        here.envoy("sidecar.yaml", "my-app", server) as sidecar,
    ):
        for envoy, name, listener in ((edge, "edge-7d9f", "public"), (sidecar, "my-app-7d9f", "static")):
            envoy.wait_for_endpoints("hello", {backend.address: "HEALTHY"}, timeout=30)
            envoy.wait_until(lambda envoy=envoy, listener=listener: envoy.listener_port(listener), what=listener)  # type: ignore[misc]
            assert request(envoy.listener_port(listener), "hello").backend == "hello"
            assert name in {event["node"] for event in server.events("xds.opened")}


def short_sleep(directory: Path) -> Path:
    """A directory with a `sleep` that writes down how long it should have been."""
    program = directory / "bin" / "sleep"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$1" >>{directory}/slept\nexec /bin/sleep 0.3\n')
    program.chmod(0o755)
    return program.parent


class Caller(threading.Thread):
    """One client on a connection that it keeps, until it is told to go."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.connection.auto_open = False
        self.connection.connect()
        self.answers, self.told, self.problem = 0, False, ""

    def run(self) -> None:
        try:
            while not self.told:
                self.connection.request("GET", "/", headers={"host": "hello"})
                answer = self.connection.getresponse()
                answer.read()
                assert answer.status == 200
                self.answers += 1
                self.told = answer.getheader("connection") == "close"
        except Exception as error:
            self.problem = repr(error)
        finally:
            self.connection.close()


@pytest.mark.envoy
def test_an_envoy_at_the_edge_ends_without_a_lost_request(root: Path, tmp_path: Path) -> None:
    """By the command of the manifest, on another port, and with a `sleep` that is shorter."""
    here = Cluster(root, tmp_path)
    (container,) = pod(root, "edge.yaml")["containers"]
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert pod(root, "edge.yaml")["terminationGracePeriodSeconds"] > 10
    with (
        Backend("hello") as backend,
        here.control_plane(backend) as server,
        here.envoy("edge.yaml", "edge", server) as edge,
    ):
        edge.wait_for_endpoints("hello", {backend.address: "HEALTHY"}, timeout=30)
        edge.wait_until(lambda: edge.listener_port("public"), what="its listener")
        port = edge.listener_port("public")
        callers = [Caller(port) for _ in range(4)]
        for caller in callers:
            caller.start()
        edge.wait_until(lambda: all(caller.answers for caller in callers), what="answers")
        slow = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        slow.request("GET", "/stream?chunks=0", headers={"host": "hello"})
        under_way = slow.getresponse()
        assert not any(caller.told for caller in callers)

        hook = subprocess.Popen(
            [*command[:-1], command[-1].replace("/127.0.0.1/9901", f"/127.0.0.1/{edge.admin_url.rpartition(':')[2]}")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PATH": f"{short_sleep(tmp_path)}:{os.environ['PATH']}"},
        )
        for caller in callers:
            caller.join(20)
            assert (caller.told, caller.problem) == (True, "")
        slept = tmp_path / "slept"
        edge.wait_until(lambda: slept.read_text().split()[:3] == ["10", "1", "1"], 30, "the pause, and looks after it")
        assert hook.poll() is None, "a request is under way"
        backend.streaming = False
        output, _ = hook.communicate(timeout=20)
        assert hook.returncode == 0, output
        edge.stop()
        assert under_way.read().endswith(b"\n"), "it came whole"
        slow.close()


@pytest.mark.envoy
def test_a_certificate_of_another_cluster_is_refused(root: Path, tmp_path: Path) -> None:
    here = Cluster(root, tmp_path)
    with (
        Backend("hello") as backend,
        here.control_plane(backend) as server,
        here.envoy("edge.yaml", "edge", server, certificate="my-app.nodes.xds-server"),
    ):
        assert server.wait_for_event("xds.refused", 30)["node"] == "edge-7d9f"
