"""The whole product in one `with` block: definition files, the control plane as a process, a real Envoy, and traffic."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from settled import active_cluster, pass_through_worker

from xds_server.bootstrap import Bootstrap, render
from xds_server.testing import Answer, Backend, EnvoyProcess, Load, request, send
from xds_server.testing.server import XdsServerProcess

Listener = Literal["ours", "static"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def target(backend: Backend, **more: Any) -> dict[str, Any]:
    return {"host": backend.host, "port": backend.port, **more}


class Rig:
    """`protocol`: how Envoy takes its configuration. `listener`: from the control plane, or of its own bootstrap.

    `edit` changes the bootstrap, which is given to it as data: for what `Bootstrap` has no option for. `args`:
    further options of the control plane.
    """

    def __init__(
        self,
        directory: Path,
        *,
        protocol: Any = "delta",
        listener: Listener = "ours",
        node: str = "rig",
        edit: Callable[[dict[str, Any]], None] | None = None,
        args: Sequence[str] = (),
    ) -> None:
        """`args`: further options of `xds-server serve`."""
        self.directory = directory / "definitions"
        self.directory.mkdir()
        self._protocol, self.listener, self._node, self._edit = protocol, listener, node, edit
        self._args = args
        self._stack = ExitStack()
        self.server: XdsServerProcess
        self.envoy: EnvoyProcess

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self.listener == "ours":
                gateway = {"name": "public", "address": "127.0.0.1", "port": free_port()}
                self.write("gateways", gateways=[gateway])
            else:
                self.write("gateways", gateways=[])
            # Every event of the protocol is in the log, for tests to read.
            self.server = stack.enter_context(
                XdsServerProcess(self.directory, args=["--log-level", "debug", *self._args])
            )
            self.envoy = stack.enter_context(EnvoyProcess(self._bootstrap()))
            self.envoy.wait_until(lambda: self.port, 10, "the listener")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def _bootstrap(self) -> str:
        options = Bootstrap(
            node_id=self._node,
            node_cluster="tests",
            xds_address=self.server.http_address if self._protocol == "rest" else self.server.xds_address,
            protocol=self._protocol,
            static_listener=0 if self.listener == "static" else None,
            static_listener_address="127.0.0.1",
        )
        bootstrap = yaml.safe_load(render(options))
        if self._edit is not None:
            self._edit(bootstrap)
        return json.dumps(bootstrap)

    @property
    def port(self) -> int:
        return self.envoy.listener_port("public" if self.listener == "ours" else "static")

    def write(self, file: str, **definitions: Any) -> None:
        """Write a file as editors do: beside, then renamed over the old one. JSON, which is YAML too."""
        path = self.directory / f"{file}.yaml"
        new = self.directory / f".{file}.new"
        new.write_text(json.dumps(definitions), encoding="utf-8")
        os.replace(new, path)

    def upstream(self, name: str, *targets: dict[str, Any], **fields: Any) -> None:
        """Define one upstream in a file of its own, or define it anew."""
        # Envoy applies the second and later changes of a second late, to save work: tests want to see each one.
        override = {"common_lb_config": {"update_merge_window": "0s"}, **fields.pop("envoy", {})}
        self.write(name, upstreams=[{"name": name, "targets": list(targets), "envoy": override, **fields}])

    def remove(self, name: str) -> None:
        (self.directory / f"{name}.yaml").unlink()

    def serves(self, name: str, *backends: Backend, **states: str) -> None:
        """Wait until Envoy has exactly these endpoints; states other than HEALTHY by the backend's name."""
        self.envoy.wait_for_endpoints(name, {b.address: states.get(b.name, "HEALTHY") for b in backends})
        pass_through_worker(self.port)

    def uses(self, name: str, **fields: Any) -> None:
        """Wait until Envoy uses a cluster with these fields, as proto JSON: until it is warm."""
        self.envoy.wait_until(
            lambda: fields.items() <= active_cluster(self.envoy, name).items(), 10, f"{name} with {fields}"
        )

    def routes(self, host: str) -> None:
        """Wait until requests for a host are routed at all, which the routes' own way through Envoy's threads delays."""
        self.envoy.wait_until(lambda: self.ask(host).status != 404, 10, f"a route for {host}")

    def forwards(self, host: str) -> None:
        """Wait until requests for a host arrive. Where streams do not wait for each other, its route may come first."""
        self.envoy.wait_until(lambda: self.ask(host).status == 200, 10, f"a target that answers for {host}")

    def ask(self, host: str, path: str = "/", **more: Any) -> Answer:
        return request(self.port, host, path, **more)

    def send(self, host: str, n: int, **more: Any) -> Counter[str]:
        return send(self.port, host, n, **more)

    def load(self, host: str, **more: Any) -> Load:
        return Load(self.port, host, **more)

    def sent(self, type: str) -> list[dict[str, Any]]:
        """Events of responses of a type (``Cluster``, ``ClusterLoadAssignment`` …) that the control plane sent."""
        return [event for event in self.server.events("xds.sent") if event["type"] == type]
