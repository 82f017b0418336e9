"""The control plane in a container."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xds_server.testing.api import ApiError, ManagementApi
from xds_server.testing.engine import Recipe, RunningContainer, log_end
from xds_server.testing.waiting import wait_until

if TYPE_CHECKING:
    from testcontainers.core.network import Network

SERVER_IMAGE_VARIABLE: Final = "XDS_SERVER_IMAGE"
DEFAULT_SERVER_IMAGE: Final = "xds-server"
"""What `docker build -f deploy/Dockerfile -t xds-server .` makes."""

REMEDY: Final = f"build it: `docker build -f deploy/Dockerfile -t xds-server .`, or set {SERVER_IMAGE_VARIABLE}"

TITLE_LABEL: Final = "org.opencontainers.image.title"
VERSION_LABEL: Final = "org.opencontainers.image.version"

XDS_PORT: Final = 18000
HTTP_PORT: Final = 18080
GRPC_PORT: Final = 18081
_DEFINITIONS: Final = "/etc/xds-server/definitions"


class XdsServerContainer(RunningContainer, ManagementApi):
    """Runs the control plane in a container for as long as the `with` block does.

        with Network() as network, XdsServerContainer(network=network) as server:
            with EnvoyContainer(Bootstrap(node_id="edge-1", xds_address=server.xds_address, static_listener=10000),
                                network=network) as envoy:
                revision = server.apply("upstreams: [{name: payments, targets: [{host: web, port: 80}]}]")
                server.wait_until_acknowledged(revision)

    `definitions`: files or directories that are copied into it. `image`: default is the environment's XDS_SERVER_IMAGE, else
    `xds-server`, as built from deploy/Dockerfile. `args`: further options of `serve`. `store`: default SQLite in the container,
    which `kill` and `restart` leave alone. `network` is a testcontainers network, on which others reach it as `alias`.

    It is told to be `--insecure`: whoever is on its network may change everything. On this machine its ports are on
    127.0.0.1 alone, and its API answers to names of loopback and to `alias` (`--allowed-hosts`). Needs `pip install
    'xds-server[testing]'` and a Docker engine.
    """

    def __init__(
        self,
        *definitions: Path,
        image: str | None = None,
        args: Sequence[str] = (),
        store: str | None = None,
        network: "Network | None" = None,
        alias: str = "xds-server",
        timeout: float = 60,
    ) -> None:
        """`timeout`: seconds that it may take until it serves definitions, once its container runs."""
        self._files = {f"{_DEFINITIONS}/{name}": content for name, content in _read(definitions).items()}
        self.image = image or os.environ.get(SERVER_IMAGE_VARIABLE) or DEFAULT_SERVER_IMAGE
        """Its name."""
        self._args = tuple(args)
        self._environment = {"XDS_SERVER_STORE": store} if store else {}
        self._network, self._alias = network, alias
        self._timeout = timeout

    @property
    def xds_address(self) -> str:
        """Where Envoys connect that are on the same network: host:port."""
        return f"{self._alias}:{XDS_PORT}"

    @property
    def http_address(self) -> str:  # type: ignore[override]
        """Where the API is, as seen from this machine: host:port."""
        return f"127.0.0.1:{self.port(HTTP_PORT)}"

    @property
    def grpc_address(self) -> str:
        """Where the API over gRPC is, as seen from this machine: host:port."""
        return f"127.0.0.1:{self.port(GRPC_PORT)}"

    @property
    def version(self) -> str | None:
        """Of xds-server in the image, as its label says; None without one. Raises RuntimeError when it is not running."""
        version: str | None = self._container().labels.get(VERSION_LABEL)
        return version

    def wait_until_ready(self, timeout: float = 60) -> None:
        """Wait until it serves definitions. Raises TimeoutError, and RuntimeError with its log when it ended."""

        def ready() -> bool:
            try:
                return bool(self.api("GET", "/readyz", timeout=5))
            except (OSError, ApiError, KeyError, RuntimeError):
                if not self.is_running:
                    raise RuntimeError(f"{self._ended()}:\n{log_end(self.log)}") from None
                return False

        wait_until(ready, timeout, lambda: f"xds-server to be ready:\n{log_end(self.log)}")

    def _recipe(self) -> Recipe:
        command = ["serve", "--insecure", "--allowed-hosts", self._alias, "--log-format", "json"]
        if self._files:
            command += ["--definitions", _DEFINITIONS]
        return Recipe(
            image=self.image,
            command=[*command, *self._args],
            ports=(XDS_PORT, HTTP_PORT, GRPC_PORT),
            files=self._files,
            environment=self._environment,
            network=self._network,
            aliases=(self._alias,),
            remedy=REMEDY,
        )

    def _ended(self) -> str:
        """What ended, as its image says what it is."""
        if self._container().labels.get(TITLE_LABEL) == DEFAULT_SERVER_IMAGE:
            return f"xds-server ended, it is {self._state()}"
        return f"{self.image} ended, and is no image of xds-server by its label: {REMEDY}"

    def _wait_until_up(self) -> None:
        self.wait_until_ready(self._timeout)


def _read(paths: Sequence[Path]) -> dict[str, bytes]:
    """The files that are meant, by the name that they get below one directory."""
    found = {}
    for path in paths:
        files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
        found.update({str(each.relative_to(path.parent)): each.read_bytes() for each in files})
    return found
