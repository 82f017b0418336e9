"""An Envoy that holds translated definitions, over ADS: what the behaviour tests of the translation talk to."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self

import yaml
from settled import pass_through_worker

from xds_server.bootstrap import Bootstrap, render
from xds_server.resolvers import Found
from xds_server.testing import Answer, EnvoyProcess, request
from xds_server.testing.loop import run
from xds_server.upstreams import translate
from xds_server.upstreams.model import Document, Gateway
from xds_server.xds import ROUTES, DiscoveryServer, Event, Resource, Snapshot


def resources(
    document: Document, addresses: translate.Addresses | None = None, held: translate.HeldSecrets | None = None
) -> list[Resource]:
    """Everything that a document becomes."""
    made: list[Resource | None] = [translate.listener_resource(gateway) for gateway in document.gateways]
    for upstream in document.upstreams:
        cluster = translate.cluster_resource(upstream)
        made += [cluster, translate.endpoints_resource(upstream, addresses or {}, cluster)]
        made += translate.secret_resources(upstream, held or {})
    hosts = [host for upstream in document.upstreams if (host := translate.virtual_host(upstream)) is not None]
    made.append(Resource.of(translate.route_configuration(hosts)))
    return [resource for resource in made if resource is not None]


class TranslatedEnvoy:
    """Serves documents to one Envoy: gateways of ours (ports 0) and the static listener beside them."""

    def __init__(self, binary: Path | None = None) -> None:
        self._binary = binary
        self._stack = ExitStack()
        self.events: list[Event] = []
        self.envoy: EnvoyProcess

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._server = DiscoveryServer(observe=self.events.append)
            port = run(_start(self._server))
            stack.callback(lambda: run(self._server.stop(0)))
            bootstrap = Bootstrap(
                node_id="test", xds_address=f"127.0.0.1:{port}", static_listener=0, static_listener_address="127.0.0.1"
            )
            self.envoy = stack.enter_context(EnvoyProcess(_with_lds(bootstrap), binary=self._binary))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def serve_with_gateways(self, definitions: dict[str, Any], **addresses: Sequence[Found]) -> None:
        """The same, with an HTTP gateway ``public`` and a TCP gateway for each TCP upstream, under its name."""
        document = Document.model_validate(definitions)
        tcp = [upstream.name for upstream in document.upstreams if upstream.protocol == "tcp"]
        gateways = (_gateway("public"), *(_gateway(name, upstream=name) for name in tcp))
        self.serve(document.model_copy(update={"gateways": gateways}), **addresses)

    def serve(self, definitions: dict[str, Any] | Document, **addresses: Sequence[Found]) -> None:
        """Have Envoy hold exactly these definitions, and wait until their clusters are warm and their listeners bound."""
        document = definitions if isinstance(definitions, Document) else Document.model_validate(definitions)
        snapshot = Snapshot.of(resources(document, addresses))
        run(_set(self._server, snapshot))
        for upstream in document.upstreams:
            self.envoy.wait_for_cluster(upstream.name)
        for gateway in document.gateways:
            self.envoy.wait_until(partial(self.envoy.listener_port, gateway.name), 10, gateway.name)
        http = [gateway.name for gateway in document.gateways if gateway.upstream is None]
        if http:
            routes = ("acknowledged", ROUTES, snapshot.version(ROUTES))
            self.envoy.wait_until(
                lambda: routes in [(event.kind, event.type_url, event.version) for event in self.events],
                10,
                "the routes",
            )
        for listener in ("static", *http):
            pass_through_worker(self.port(listener))

    def port(self, listener: str) -> int:
        """Where a listener listens."""
        return self.envoy.listener_port(listener)

    def ask(self, host: str, path: str = "/", *, listener: str = "public", **more: Any) -> Answer:
        """Send one request through a listener."""
        return request(self.port(listener), host, path, **more)


def _gateway(name: str, upstream: str | None = None) -> Gateway:
    # Port 0 is any free one, which definitions cannot ask for.
    return Gateway(name=name, address="127.0.0.1", port=1, upstream=upstream).model_copy(update={"port": 0})


def _with_lds(options: Bootstrap) -> str:
    """The bootstrap with its own static listener and with listeners from us: both ways are tested with one Envoy."""
    bootstrap = yaml.safe_load(render(options))
    bootstrap["dynamic_resources"]["lds_config"] = bootstrap["dynamic_resources"]["cds_config"]
    return json.dumps(bootstrap)


async def _start(server: DiscoveryServer) -> int:
    return await server.start()


async def _set(server: DiscoveryServer, snapshot: Snapshot) -> None:
    server.set_snapshot(snapshot)
