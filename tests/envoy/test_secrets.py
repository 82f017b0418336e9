"""Certificates that are replaced while requests flow: on Envoy's machine, and in the directory of the control plane."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig import Rig
from tls_backend import CERTIFICATES, MESH, TlsBackend

pytestmark = pytest.mark.envoy

SECTION = "Protocols and TLS"
SYSTEM_SNI = {"sni": "a.internal"}


def put(directory: Path, **files: Path) -> None:
    """Write files as tools do that replace certificates: beside, then renamed over the old ones."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, source in files.items():
        file = {"chain": "tls.crt", "key": "tls.key", "ca": "ca.crt"}[name]
        shutil.copy(source, directory / f".{file}.new")
        os.replace(directory / f".{file}.new", directory / file)


def client(number: int) -> dict[str, Path]:
    return {"chain": MESH / f"client-{number}.pem", "key": MESH / f"client-{number}.key"}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("secrets")


@pytest.fixture(scope="module")
def rig(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("rig"), args=["--secrets-dir", str(secrets)]) as rig:
        yield rig
        assert rig.server.events("xds.rejected") == []
        for secret in secrets.rglob("tls.key"):
            for line in secret.read_text().splitlines():
                assert line not in rig.server.log, "keys are never logged"


@pytest.fixture
def backend() -> Iterator[TlsBackend]:
    """Has the certificate of a.internal and demands one of the same authority."""
    with TlsBackend(MESH / "a", clients=MESH / "ca.pem") as started:
        yield started


def define(rig: Rig, name: str, backend: TlsBackend, tls: dict[str, Any], **fields: Any) -> None:
    rig.upstream(name, backend.target, tls={**SYSTEM_SNI, **tls}, **fields)


def held(name: str) -> dict[str, Any]:
    return {"ca": name, "certificate": name}


OFTEN_ANEW = {"keepalive": {"max_requests": 5}}
"""New connections all the time: only these show a new certificate."""


@pytest.mark.feature(
    SECTION, "a certificate replaced in --secrets-dir is shown by new connections; no request fails, nothing is rebuilt"
)
def test_a_certificate_of_the_control_plane_is_replaced_under_load(
    rig: Rig, backend: TlsBackend, secrets: Path
) -> None:
    put(secrets / "rotated", ca=MESH / "ca.pem", **client(1))
    define(rig, "rotated", backend, held("rotated"), **OFTEN_ANEW)
    rig.forwards("rotated")
    with TlsBackend(MESH / "a", clients=MESH / "ca.pem") as kept_backend:
        define(rig, "kept", kept_backend, held("rotated"))
        rig.forwards("kept")
        rebuilt, sent = rig.envoy.stat("cluster_manager.cluster_modified"), len(rig.sent("Cluster"))
        with rig.load("rotated") as load:
            load.wait_for(50)
            assert set(backend.shown) == {"client-1"}
            put(secrets / "rotated", **client(2))
            rig.envoy.wait_until(lambda: backend.shown["client-2"], 20, "the new certificate")
            backend.shown.clear()
            load.wait_for(100)
        assert load.failures == 0, load.errors
        assert backend.shown["client-2"] > 50
        assert rig.envoy.stat("cluster_manager.cluster_modified") == rebuilt
        assert len(rig.sent("Cluster")) == sent
        assert rig.send("kept", 4) == {"a": 4}
        assert sum(kept_backend.accepted.values()) == 1, "a connection that is open stays"


@pytest.mark.feature(SECTION, "authorities replaced in --secrets-dir decide at once whom new connections believe")
def test_authorities_of_the_control_plane_are_replaced(rig: Rig, backend: TlsBackend, secrets: Path) -> None:
    put(secrets / "believed", ca=MESH / "ca.pem", **client(1))
    define(rig, "believed", backend, held("believed"), keepalive={"max_requests": 1})
    rig.forwards("believed")
    rebuilt = rig.envoy.stat("cluster_manager.cluster_modified")
    put(secrets / "believed", ca=CERTIFICATES / "other-ca.pem")
    rig.envoy.wait_until(lambda: rig.ask("believed").status == 503, 20, "refusal")
    put(secrets / "believed", ca=MESH / "ca.pem")
    rig.forwards("believed")
    assert rig.envoy.stat("cluster_manager.cluster_modified") == rebuilt


@pytest.mark.feature(SECTION, "a secret that breaks keeps its last good content until it is mended")
def test_a_broken_secret_keeps_what_it_was(rig: Rig, backend: TlsBackend, secrets: Path) -> None:
    put(secrets / "breaks", ca=MESH / "ca.pem", **client(1))
    define(rig, "breaks", backend, held("breaks"), keepalive={"max_requests": 1})
    rig.forwards("breaks")
    put(secrets / "breaks", key=MESH / "client-2.key")
    told = rig.server.wait_for_event("secret.broken", 20)
    assert told["secret"] == "breaks"
    assert "tls.key is not the key of the certificate" in told["problem"]
    assert rig.send("breaks", 4) == {"a": 4}
    assert set(backend.shown) == {"client-1"}
    put(secrets / "breaks", **client(2))
    rig.server.wait_for_event("secret.mended", 20)
    rig.envoy.wait_until(lambda: rig.ask("breaks").status == 200 and backend.shown["client-2"], 20, "the new one")


@pytest.mark.feature(
    SECTION, "a definition whose secret is missing is refused, the last good one serves; it is taken once it is there"
)
def test_a_missing_secret_refuses_its_definition(rig: Rig, backend: TlsBackend, secrets: Path) -> None:
    put(secrets / "there", ca=MESH / "ca.pem", **client(1))
    define(rig, "edited", backend, held("there"))
    rig.forwards("edited")
    define(rig, "edited", backend, {"ca": "there", "certificate": "not-yet"}, keepalive={"max_requests": 1})
    refused = rig.server.wait_for_event("definition.refused", 20)
    assert refused["name"] == "edited"
    assert refused["last_good_serves"]
    assert refused["problem"].startswith("tls.certificate: secret 'not-yet': ")
    assert "tls.crt cannot be read: No such file or directory" in refused["problem"]
    assert rig.send("edited", 4) == {"a": 4}
    assert set(backend.shown) == {"client-1"}
    put(secrets / "not-yet", **client(2))
    rig.envoy.wait_until(lambda: rig.ask("edited").status == 200 and backend.shown["client-2"], 20, "the new one")


@pytest.mark.feature(
    SECTION, "a definition whose secret is missing at start is not served until it is there; all others are"
)
def test_a_secret_that_is_missing_at_start(backend: TlsBackend, tmp_path: Path) -> None:
    there = tmp_path / "secrets"
    put(there / "sound", ca=MESH / "ca.pem", **client(1))
    with Rig(tmp_path, args=["--secrets-dir", str(there)]) as rig:
        define(rig, "waits", backend, held("late"), keepalive={"max_requests": 1})
        define(rig, "sound", backend, held("sound"))
        rig.forwards("sound")
        rig.server.restart()
        refused = rig.server.wait_for_event("definition.refused", 20)
        assert (refused["name"], refused["last_good_serves"]) == ("waits", False)
        assert refused["meanwhile"] == "no Envoy has it: requests for it fail"
        rig.forwards("sound")
        assert rig.ask("waits").status == 404
        put(there / "late", ca=MESH / "ca.pem", **client(2))
        rig.forwards("waits")
        assert backend.shown["client-2"] > 0


@pytest.mark.feature(SECTION, "a secret goes to those Envoys alone that receive an upstream which names it")
def test_a_secret_goes_to_those_who_need_it(rig: Rig, backend: TlsBackend, secrets: Path) -> None:
    put(secrets / "private", ca=MESH / "ca.pem", **client(1))
    define(rig, "elsewhere", backend, held("private"), nodes={"clusters": ["another"]})
    define(rig, "here", backend, held("private"), nodes={"clusters": ["tests"]})
    rig.forwards("here")
    dump = rig.envoy.config_dump("dynamic_active_secrets")
    held_here = {entry["name"] for entry in dump["configs"]}
    assert {"here/certificate", "here/ca"} <= held_here
    assert not [name for name in held_here if name.startswith("elsewhere/")]


@pytest.mark.feature(
    SECTION,
    "a certificate file renamed on Envoy's machine is shown by new connections; no request fails, nothing is rebuilt",
)
def test_files_on_envoys_machine_are_replaced_under_load(rig: Rig, backend: TlsBackend, tmp_path: Path) -> None:
    put(tmp_path, ca=MESH / "ca.pem", **client(1))
    files = {"ca_file": "ca.crt", "cert_file": "tls.crt", "key_file": "tls.key"}
    define(rig, "files", backend, {field: str(tmp_path / file) for field, file in files.items()}, **OFTEN_ANEW)
    rig.forwards("files")
    rebuilt = rig.envoy.stat("cluster_manager.cluster_modified")
    with rig.load("files") as load:
        load.wait_for(50)
        put(tmp_path, **client(2))
        rig.envoy.wait_until(lambda: backend.shown["client-2"], 20, "the new certificate")
        load.wait_for(50)
    assert load.failures == 0, load.errors
    assert rig.envoy.stat("cluster_manager.cluster_modified") == rebuilt


@pytest.mark.feature(
    SECTION, "secrets come the way that clusters come: aggregated, on streams of their own, or by polling"
)
@pytest.mark.parametrize("protocol", ["sotw", "per-type", "rest"])
def test_secrets_come_the_way_that_clusters_come(
    backend: TlsBackend, secrets: Path, tmp_path: Path, protocol: str
) -> None:
    name = f"way-{protocol}"
    put(secrets / name, ca=MESH / "ca.pem", **client(1))
    with Rig(tmp_path, protocol=protocol, args=["--secrets-dir", str(secrets)]) as rig:
        define(rig, name, backend, held(name), keepalive={"max_requests": 1})
        rig.envoy.wait_until(lambda: rig.ask(name).status == 200, 30, "the first certificate")
        if protocol != "rest":  # which is asked for every 5 s to 10 s
            put(secrets / name, **client(2))
            rig.envoy.wait_until(lambda: rig.ask(name).status == 200 and backend.shown["client-2"], 30, "the new one")
        assert rig.server.events("xds.rejected") == []
