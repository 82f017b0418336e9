"""The control plane that gRPC clients of tests connect to: the whole product, or its library in this process.

Both take upstreams in the same way: `upstream` defines one, or defines it anew, and `remove` takes it out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from grpc_backends import GrpcBackend
from library_server import LibraryServer
from rig import free_port

from xds_server.testing.server import XdsServerProcess
from xds_server.upstreams.model import Upstream
from xds_server.upstreams.translate.proxyless import proxyless_resources
from xds_server.xds import Resource


def target(backend: GrpcBackend, **more: Any) -> dict[str, Any]:
    return {"host": backend.host, "port": backend.port, **more}


class Product:
    """`xds-server serve` on definition files, each upstream in one of its own, for as long as the `with` block lasts.

    `args`: further options of it.
    """

    def __init__(self, directory: Path, *, args: Sequence[str] = ()) -> None:
        self._directory = directory / "definitions"
        self._directory.mkdir()
        self.xds_address = f"127.0.0.1:{free_port()}"
        # Every event of the protocol is in the log, for tests to read.
        options = ["--log-level", "debug", *args]
        self.server = XdsServerProcess(self._directory, xds_address=self.xds_address, args=options)

    def upstream(self, name: str, *targets: dict[str, Any], **fields: Any) -> None:
        self._write(name, upstreams=[{"name": name, "targets": list(targets), **fields}])

    def remove(self, name: str) -> None:
        (self._directory / f"{name}.yaml").unlink()

    def warnings(self, name: str) -> list[str]:
        """Wait until it is told what gRPC clients of an upstream do not get; returns that."""

        def told() -> list[dict[str, Any]]:
            events = self.server.events("definition.altered") + self.server.events("definition.not_served")
            return [event for event in events if event["name"] == name]

        self.server.wait_until(told, 10, f"warnings about {name}")
        return list(told()[-1].get("warnings") or [told()[-1]["problem"]])

    def _write(self, file: str, **definitions: Any) -> None:
        """As editors do: beside, then renamed over the old one. JSON, which is YAML too."""
        new = self._directory / f".{file}.new"
        new.write_text(json.dumps(definitions), encoding="utf-8")
        os.replace(new, self._directory / f"{file}.yaml")

    def __enter__(self) -> Self:
        self._write("none", upstreams=[])
        self.server.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.server.__exit__(*error)


class Library(LibraryServer):
    """`DiscoveryServer` in the test's own process, for what no definition leads to."""

    def upstream(self, name: str, *targets: dict[str, Any], **fields: Any) -> None:
        self.put(name, resources(name, *targets, **fields))

    def remove(self, name: str) -> None:
        self.put(name, ())

    def put(self, name: str, resources: Iterable[Resource]) -> None:
        """Serve exactly these of the resources that are named like the upstream."""
        made = tuple(resources)
        kept = {(resource.type_url, resource.name) for resource in made}
        old = {(resource.type_url, resource.name) for resource in self.snapshot if resource.name == name}
        self.change(*made, remove=old - kept)


def resources(name: str, *targets: dict[str, Any], **fields: Any) -> tuple[Resource, ...]:
    """What gRPC clients are served for an upstream."""
    return proxyless_resources(Upstream.model_validate({"name": name, "targets": targets, **fields}), {}).resources
