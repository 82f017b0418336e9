"""Fixtures for pytest, found by its entry point as soon as xds-server is installed: a control plane, an Envoy, backends.

Nothing is imported before a test asks for a fixture: a suite that uses none pays for none.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from testcontainers.core.network import Network

    from xds_server.testing import Backends, EnvoyContainer, EnvoyProcess, XdsServerContainer, XdsServerProcess

Mode = Literal["process", "container"]
OPTION = "xds_server_mode"
NODE = "test-envoy"
LISTENER = 10000
TOLD = "xds_server_told"

_told = pytest.StashKey[list[str]]()
"""Lines for the end of the run, each once."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that says how things run."""
    parser.addini(
        OPTION,
        "process, container, or auto (default): containers where a Docker engine answers and has the images, else processes",
        default="auto",
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands over what is to be told."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output[TOLD] = session.config.stash.get(_told, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """And who started it takes it."""
    for line in getattr(node, "workeroutput", {}).get(TOLD, []):
        _tell(node.config, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How things ran, where a test asked for a fixture."""
    for line in config.stash.get(_told, []):
        terminalreporter.write_line(f"xds-server: {line}")


@pytest.fixture(scope="session")
def xds_server_mode(request: pytest.FixtureRequest) -> Mode:
    """How the other fixtures run things: "process" or "container". The ini option of the same name decides.

    `auto`, its default, is containers where a Docker engine answers that has both images (`XDS_SERVER_IMAGE` and
    `XDS_SERVER_ENVOY_IMAGE`), and processes elsewhere, so that no test waits for an image to be pulled.
    """
    wanted = str(request.config.getini(OPTION))
    if wanted not in ("auto", "process", "container"):
        raise pytest.UsageError(f"{OPTION} = {wanted}: write auto, process or container")
    return "container" if wanted == "container" or (wanted == "auto" and _has_images()) else "process"


@pytest.fixture(scope="session")
def _xds_ended_by_sigterm() -> Iterator[None]:
    """SIGTERM, as a CI sends it to a job that is cancelled, ends pytest as SIGINT does: with all that was started."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once, as a second one would end what cleans up
        raise KeyboardInterrupt(f"signal {number}")

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, interrupt)
    yield
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.fixture
def xds_server(
    xds_server_mode: Mode, _xds_ended_by_sigterm: None, request: pytest.FixtureRequest
) -> Iterator[XdsServerProcess | XdsServerContainer]:
    """A control plane that knows nothing yet: give it definitions with `xds_server.apply`."""
    from xds_server import __version__
    from xds_server.testing import XdsServerContainer, XdsServerProcess
    from xds_server.testing.server import plain_environment

    if xds_server_mode == "process":
        with XdsServerProcess(environment=plain_environment()) as server:
            _tell(request.config, "the fixtures ran processes")
            yield server
    else:
        with XdsServerContainer(network=request.getfixturevalue("_xds_network")) as container:
            _tell(request.config, "the fixtures ran containers")
            if container.version != __version__:
                _tell(request.config, _differs(container))
            yield container


@pytest.fixture
def xds_envoy(
    xds_server_mode: Mode, xds_server: XdsServerProcess | XdsServerContainer, request: pytest.FixtureRequest
) -> Iterator[EnvoyProcess | EnvoyContainer]:
    """An Envoy that is connected to `xds_server`, with a listener that routes by Host: `xds_envoy.send("payments", 10)`."""
    from xds_server.bootstrap import Bootstrap
    from xds_server.testing import EnvoyContainer, EnvoyProcess

    # Nobody else than this machine either way: a container's port is published on loopback.
    listener, address = (0, "127.0.0.1") if xds_server_mode == "process" else (LISTENER, "0.0.0.0")
    bootstrap = Bootstrap(
        node_id=NODE, xds_address=xds_server.xds_address, static_listener=listener, static_listener_address=address
    )
    with ExitStack() as stack:
        envoy: EnvoyProcess | EnvoyContainer
        if xds_server_mode == "process":
            envoy = stack.enter_context(EnvoyProcess(bootstrap))
        else:
            envoy = stack.enter_context(EnvoyContainer(bootstrap, network=request.getfixturevalue("_xds_network")))
        envoy.wait_for_ready()
        yield envoy


@pytest.fixture
def xds_backends(xds_server_mode: Mode) -> Iterator[Callable[..., Backends]]:
    """Starts HTTP servers that answer their own name and count, where Envoy reaches them: `a, b = xds_backends("a", "b")`."""
    from xds_server.testing import Backends

    with ExitStack() as stack:
        yield lambda *names: stack.enter_context(Backends(*names, host=_host(xds_server_mode)))


@pytest.fixture
def _xds_network() -> Iterator[Network]:
    # Ryuk, testcontainers' cleaner, is an image more to be pulled; fixtures clean up. Read when it is imported.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    from xds_server.testing.engine import explained

    with explained():
        from testcontainers.core.network import Network

        made = Network()
    with made as network:
        yield network


def _tell(config: pytest.Config, line: str) -> None:
    lines = config.stash.setdefault(_told, [])
    if line not in lines:
        lines.append(line)


def _differs(container: XdsServerContainer) -> str:
    from xds_server import __version__
    from xds_server.testing.server_container import SERVER_IMAGE_VARIABLE

    held = f"version {container.version}" if container.version else "no version"
    return f"the image {container.image} has {held}, and {__version__} is installed: see {SERVER_IMAGE_VARIABLE}"


def _host(mode: Mode) -> str:
    if mode == "process":
        return "127.0.0.1"
    from xds_server.testing.container import bridge_gateway

    return bridge_gateway()


def _has_images() -> bool:
    from xds_server.testing.container import DEFAULT_IMAGE, IMAGE_VARIABLE
    from xds_server.testing.server_container import DEFAULT_SERVER_IMAGE, SERVER_IMAGE_VARIABLE

    try:
        import docker
        from docker.errors import DockerException
    except ImportError:
        return False
    if find_spec("testcontainers") is None:
        return False
    try:
        client = docker.from_env()
        for variable, default in ((IMAGE_VARIABLE, DEFAULT_IMAGE), (SERVER_IMAGE_VARIABLE, DEFAULT_SERVER_IMAGE)):
            client.images.get(os.environ.get(variable) or default)
        client.close()
    except DockerException:
        return False
    return True
