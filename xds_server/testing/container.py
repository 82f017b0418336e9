"""A real Envoy in a container."""

import os
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final

import yaml

from xds_server.bootstrap import Bootstrap
from xds_server.testing.admin import EnvoyAdmin
from xds_server.testing.engine import Recipe, RunningContainer, bridge_gateway
from xds_server.testing.process import with_admin

if TYPE_CHECKING:
    from testcontainers.core.network import Network

__all__ = ["DEFAULT_IMAGE", "IMAGE_VARIABLE", "EnvoyContainer", "bridge_gateway"]

IMAGE_VARIABLE: Final = "XDS_SERVER_ENVOY_IMAGE"
DEFAULT_IMAGE: Final = "envoyproxy/envoy:v1.40-latest"

_ADMIN_PORT: Final = 9901
_CONFIG: Final = "/tmp/bootstrap.yaml"  # the official image runs Envoy as a user that may read there


class EnvoyContainer(RunningContainer, EnvoyAdmin):
    """Runs Envoy in a container for as long as the `with` block does.

        with EnvoyContainer(Bootstrap(node_id="edge-1", static_listener=10000,
                                      xds_address="host.docker.internal:18000")) as envoy:
            envoy.wait_for_cluster("payments")
            envoy.send("payments", 10)

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
        self._static = bootstrap.static_listener if isinstance(bootstrap, Bootstrap) else None
        self._ports = tuple(dict.fromkeys((_ADMIN_PORT, *ports, *([self._static] if self._static else []))))
        self._image = image or os.environ.get(IMAGE_VARIABLE) or DEFAULT_IMAGE
        self._args = tuple(args)
        self._network = network
        self._aliases = tuple(aliases)
        self._timeout = timeout

    @property
    def admin_url(self) -> str:
        """`http://127.0.0.1:PORT`. Raises RuntimeError when the container is not running."""
        return self.url(_ADMIN_PORT)

    @property
    def static_port(self) -> int:
        return self.port(self._static or self.listener_port("static"))

    def _recipe(self) -> Recipe:
        return Recipe(
            image=self._image,
            command=["envoy", "-c", _CONFIG, "--concurrency", "1", "-l", "warning", *self._args],
            ports=self._ports,
            files={_CONFIG: self._config.encode()},
            network=self._network,
            aliases=self._aliases,
            remedy=f"pull {DEFAULT_IMAGE}, or set {IMAGE_VARIABLE}",
        )

    def _wait_until_up(self) -> None:
        self.wait_until(lambda: self.admin("/server_info"), self._timeout, "Envoy's admin interface")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if error is not None:
            error.add_note(self.log_tail())
