"""The image of deploy/Dockerfile: what it holds, as whom it runs, what it needs, and when it says that it is well."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority

from xds_server.testing.waiting import wait_until

MOST = 150
"""Megabytes that the image may add to its base."""


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def container(*arguments: str) -> Iterator[str]:
    """Runs the image with these arguments of `docker run`, as strictly as can be."""
    strict = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none"]
    name = docker("run", "--detach", *strict, *arguments).strip()
    try:
        yield name
    finally:
        docker("rm", "--force", "--volumes", name)


def inspected(kind: str, name: str) -> Any:
    return json.loads(docker(kind, "inspect", name))[0]


def size_of(image: str) -> int:
    return int(inspected("image", image)["Size"])


def base_image(root: Path) -> str:
    """What the image was built on."""
    return subprocess.check_output([root / ".ci" / "python-image"], text=True).strip()


def health(name: str) -> dict[str, Any]:
    found: dict[str, Any] = inspected("container", name)["State"]["Health"]
    return found


@pytest.mark.parametrize(("user", "options"), [("65532", []), ("12345", ["--user", "12345"])], ids=["own", "any other"])
def test_runs_as_nobody_in_particular_and_writes_its_store_alone(
    server_image: str, user: str, options: list[str]
) -> None:
    with container("--health-interval", "0.5s", *options, server_image, "serve", "--insecure") as name:
        wait_until(lambda: health(name)["Status"] == "healthy", 40, lambda: str(health(name)))
        assert docker("exec", name, "id", "-u").strip() == user
        assert docker("exec", name, "ls", "/var/lib/xds-server").split()[0] == "store.db"
        assert not docker("diff", name).strip(), "nothing else was written"
        definition = "upstreams: [{name: wiki, targets: [{host: 10.0.0.1, port: 80}]}]"
        file = "/dev/shm/definitions.yaml"
        docker("exec", name, "sh", "-c", f"echo '{definition}' > {file} && xds-server apply -f {file}")
        assert "wiki" in docker("exec", name, "xds-server", "get", "upstreams")
        assert docker("exec", name, "xds-server", "token", "create", "me", "--role", "admin").startswith("xds_")
        started = time.monotonic()
        docker("stop", "--time", "30", name)
        assert time.monotonic() - started < 15
        assert inspected("container", name)["State"]["ExitCode"] == 0


def test_does_not_listen_to_everybody_unless_told_to(server_image: str) -> None:
    with container(server_image) as name:
        assert docker("wait", name).strip() == "1"
        told = subprocess.run(["docker", "logs", name], capture_output=True, text=True).stderr
        assert "give --tls-cert, --tls-key and --tls-client-ca" in told
        assert "Traceback" not in told


def test_is_healthy_over_tls_too(server_image: str, tmp_path: Path) -> None:
    """By a certificate that names others' way to it."""
    pair, envoys = Authority().issue(tmp_path / "server", "xds-server"), Authority().write(tmp_path / "ca.pem")
    options = ["--health-interval", "0.5s"]
    for variable, file in (("CERT", pair.cert), ("KEY", pair.key), ("CLIENT_CA", envoys)):
        file.chmod(0o644)
        options += ["--volume", f"{file}:/tls/{file.name}:ro", "--env", f"XDS_SERVER_TLS_{variable}=/tls/{file.name}"]
    with container(*options, server_image) as name:
        wait_until(lambda: health(name)["Status"] == "healthy", 40, lambda: str(health(name)))
        plain = "import urllib.request as u; u.urlopen('http://127.0.0.1:18080/readyz', timeout=5)"
        asked = subprocess.run(["docker", "exec", name, "python", "-c", plain], capture_output=True, text=True)
        assert asked.returncode != 0, "it speaks TLS alone"


def test_is_unhealthy_while_it_serves_no_definitions(server_image: str) -> None:
    """`--definitions` that is not there: it waits for it, rather than tell Envoys that there is nothing."""
    options = ["--health-interval", "0.5s", "--health-retries", "2", "--health-start-period", "1s"]
    with container(*options, server_image, "serve", "--insecure", "--definitions", "/nowhere") as name:
        wait_until(lambda: "not ready" in str(health(name)["Log"][-1:]), 40, lambda: str(health(name)))
        wait_until(lambda: health(name)["Status"] == "unhealthy", 10, lambda: str(health(name)))


def test_holds_what_its_bill_of_materials_says(server_image: str, root: Path) -> None:
    program = "from importlib.metadata import distributions as d; print(*{f'{x.name}=={x.version}' for x in d()})"
    run = ["run", "--rm", "--network", "none", "--entrypoint", "python", server_image]
    held = {each.lower().replace("_", "-").replace(".", "-") for each in docker(*run, "-c", program).split()}
    bill = json.loads(docker("run", "--rm", "--entrypoint", "cat", server_image, "/opt/xds-server/share/sbom.cdx.json"))
    parts = [*bill["components"], bill["metadata"]["component"]]
    assert held == {f"{each['name']}=={each['version']}".replace(".", "-") for each in parts}
    assert bill == json.loads((root / "deploy" / "sbom.cdx.json").read_text()), "the image is older than the checkout"


def test_says_what_it_is(server_image: str) -> None:
    config = inspected("image", server_image)["Config"]
    labels = {name.rpartition(".")[2]: value for name, value in config["Labels"].items()}
    version = docker("run", "--rm", server_image, "--version").split()[-1]
    assert labels["title"] == "xds-server"
    assert labels["version"] == version
    assert labels["revision"]
    assert config["User"] == "65532:65532"


TOOLS = ("pip", "pip3", "easy_install", "uv", "wheel", "gcc", "cc", "make", "envoy", "pytest", "mypy", "ruff")


def test_holds_nothing_that_only_builds_or_tests_beside_its_base(server_image: str, root: Path) -> None:
    """Wherever a command may be; the base of Docker's own Python has its pip."""
    path = next(each for each in inspected("image", server_image)["Config"]["Env"] if each.startswith("PATH="))
    look = f"for tool in {' '.join(TOOLS)} python3; do command -v $tool; done; true"

    def tools(image: str) -> set[str]:
        return set(docker("run", "--rm", "--env", path, "--entrypoint", "sh", image, "-c", look).split())

    held = tools(server_image)
    assert "/opt/xds-server/bin/python3" in held
    assert {each for each in held if each.startswith("/opt/xds-server/")} == {"/opt/xds-server/bin/python3"}
    assert {Path(each).name for each in held - tools(base_image(root))} == {"python3"}


def test_is_not_larger_than_need_be(
    server_image: str, root: Path, record_property: Callable[[str, object], None]
) -> None:
    base = base_image(root)
    whole, ours = (size // 1_000_000 for size in (size_of(server_image), size_of(server_image) - size_of(base)))
    record_property("measured", f"the image has {whole} MB, of which {ours} MB are beside its base, {base}")
    assert 50 < ours < MOST


@pytest.mark.timeout(900)
@pytest.mark.skipif(
    "NOTHING_SKIPPED" not in os.environ,
    reason="it builds the image anew, from what is downloaded: NOTHING_SKIPPED=1 has it done",
)
def test_the_same_sources_give_the_same_layers(server_image: str, root: Path) -> None:
    """On the same base image. The image's own digest differs, as it says when it was made and of which revision."""
    base = base_image(root)
    again = f"{server_image}-again"
    build = ["build", "--no-cache", "--network", "host", "--file", "deploy/Dockerfile", "--tag", again]
    subprocess.run([root / ".ci" / "docker", *build, "--build-arg", f"PYTHON_IMAGE={base}", "."], check=True, cwd=root)
    try:
        first, second = (inspected("image", name)["RootFS"]["Layers"] for name in (server_image, again))
        assert first == second
        assert first[:-1] == inspected("image", base)["RootFS"]["Layers"], "one layer of ours"
    finally:
        docker("rmi", again)
