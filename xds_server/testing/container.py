"""A real Envoy in a container."""

import ipaddress
import os
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import yaml

from xds_server.bootstrap import Bootstrap
from xds_server.testing.admin import EnvoyAdmin
from xds_server.testing.process import with_admin

if TYPE_CHECKING:
    from docker.models.containers import Container
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.network import Network

IMAGE_VARIABLE: Final = "XDS_SERVER_ENVOY_IMAGE"
DEFAULT_IMAGE: Final = "envoyproxy/envoy:v1.40-latest"

_ADMIN_PORT: Final = 9901
_CONFIG: Final = "/tmp/bootstrap.yaml"  # the official image runs Envoy as a user that may read there


class EnvoyContainer(EnvoyAdmin):
    """Runs Envoy in a container for as long as the `with` block does.

        with EnvoyContainer(Bootstrap(node_id="edge-1", static_listener=10000,
                                      xds_address="host.docker.internal:18000")) as envoy:
            envoy.wait_for_cluster("payments")
            request(envoy.port(10000), "payments")

    `bootstrap` is what Envoy starts with, as options or as YAML or JSON text; its admin interface is made reachable.
    `ports` are published on 127.0.0.1 under free ports, together with the static listener's if it is part of the
    options. `image`: default is the environment's XDS_SERVER_ENVOY_IMAGE, else Envoy's official one; its command must
    be called `envoy`. `args` are further arguments of Envoy. `network` is a testcontainers network, on which others
    reach it as each of `aliases`.

    Inside, `host.docker.internal` is the machine that the engine runs on: a control plane that listens on the
    `bridge_gateway()` or on every address is found there. Needs `pip install 'xds-server[testing]'` and a Docker
    engine.
    """

    def __init__(
        self,
        bootstrap: str | Bootstrap,
        *,
        ports: Sequence[int] = (),
        image: str | None = None,
        args: Sequence[str] = (),
        network: "Network | None" = None,
        aliases: Sequence[str] = (),
        timeout: float = 60,
    ) -> None:
        """`timeout`: seconds that Envoy may take to start once its container runs (the image is there by then)."""
        self._config = yaml.safe_dump(with_admin(bootstrap, f"0.0.0.0:{_ADMIN_PORT}"))
        own = bootstrap.static_listener if isinstance(bootstrap, Bootstrap) else None
        self._ports = dict.fromkeys((_ADMIN_PORT, *ports, *([own] if own else [])))
        self._image = image or os.environ.get(IMAGE_VARIABLE) or DEFAULT_IMAGE
        self._args = tuple(args)
        self._network = network
        self._aliases = tuple(aliases)
        self._timeout = timeout
        self._outer: DockerContainer | None = None
        self._inner: Container | None = None
        self._log = ""

    def start(self) -> None:
        """Start the container and wait for Envoy's admin interface.

        Raises RuntimeError without testcontainers, without an engine, and with Envoy's log when it refuses the
        bootstrap; TimeoutError; and what the Docker client raises. After any of these nothing is left running.
        """
        if self._outer is not None:
            raise RuntimeError("this Envoy is running already")
        self._outer = self._create()
        try:
            self._outer.start()
            self._inner = self._outer.get_wrapped_container()
            self.wait_until(lambda: self.admin("/server_info"), self._timeout, "Envoy's admin interface")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Remove the container; its log can still be read. Harmless twice."""
        if self._outer is None:
            return
        try:
            self._log = self.log
        finally:
            container, self._outer, self._inner = self._outer, None, None
            container.stop()

    def port(self, port: int) -> int:
        """The port of 127.0.0.1 under which a port of the container is published.

        Raises RuntimeError when the container is not running, KeyError for a port that is not published.
        """
        if self._inner is None:
            raise RuntimeError("this Envoy is not running: use it inside its `with` block")
        self._inner.reload()
        return int(self._inner.ports[f"{port}/tcp"][0]["HostPort"])

    def url(self, port: int) -> str:
        """`http://127.0.0.1:PORT` for a published port of the container."""
        return f"http://127.0.0.1:{self.port(port)}"

    @property
    def admin_url(self) -> str:
        """`http://127.0.0.1:PORT`. Raises RuntimeError when the container is not running."""
        return self.url(_ADMIN_PORT)

    @property
    def is_running(self) -> bool:
        """Whether the container was started and has not ended."""
        if self._inner is None:
            return False
        self._inner.reload()
        return bool(self._inner.status == "running")

    @property
    def log(self) -> str:
        """All that Envoy has logged, also after the container was removed."""
        if self._inner is None:
            return self._log
        text: bytes = self._inner.logs()
        return text.decode(errors="replace")

    def _create(self) -> "DockerContainer":
        try:
            from docker.errors import DockerException
            from testcontainers.core.container import DockerContainer
        except ImportError as error:
            raise RuntimeError("containers need testcontainers: pip install 'xds-server[testing]'") from error
        try:
            container = DockerContainer(self._image)
        except DockerException as error:
            raise RuntimeError(f"no Docker engine answers: start one, or set DOCKER_HOST ({error})") from error
        (
            container.with_command(["envoy", "-c", _CONFIG, "--concurrency", "1", "-l", "warning", *self._args])
            .with_copy_into_container(self._config.encode(), _CONFIG)
            .with_kwargs(extra_hosts={"host.docker.internal": "host-gateway"})
        )
        # Not `with_exposed_ports`, which publishes on every address of the machine.
        container.ports = {f"{port}/tcp": ("127.0.0.1", None) for port in self._ports}  # type: ignore[misc]
        if self._network is not None:
            container.with_network(self._network).with_network_aliases(*self._aliases)
        return container

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if error is not None:
            error.add_note(self.log_tail())


def bridge_gateway() -> str:
    """The address of this machine on Docker's default network, where containers reach what listens on it.

    Raises what the Docker client raises when no engine answers.
    """
    import docker

    client = docker.from_env()
    try:
        network = client.networks.get("bridge").attrs["IPAM"]["Config"][0]
        # An engine names the gateway of this network only from its second start on; it is the first address of the subnet.
        return str(network.get("Gateway") or next(ipaddress.ip_network(network["Subnet"]).hosts()))
    finally:
        client.close()
