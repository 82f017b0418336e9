"""The gRPC server of the management: its services, health checking and reflection on one port."""

import asyncio
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from xds_server.catalog.store.records import GATEWAY, UPSTREAM
from xds_server.management.grpc.access import AccessControl
from xds_server.management.grpc.answering import PACKAGE, Answering
from xds_server.management.grpc.definitions import DefinitionService
from xds_server.management.grpc.nodes import NodeService
from xds_server.management.grpc.revisions import RevisionService
from xds_server.management.grpc.targets import TargetService
from xds_server.management.service import Management
from xds_server.management.v1 import definitions_pb2_grpc, nodes_pb2_grpc, revisions_pb2_grpc, targets_pb2_grpc
from xds_server.security.authenticator import Authenticator
from xds_server.xds import AddressInUseError, Limits
from xds_server.xds.arguments import split_address
from xds_server.xds.limits import grpc_options

NAMES: Final = tuple(f"{PACKAGE}.{name}Service" for name in ("Gateway", "Node", "Revision", "Target", "Upstream"))
MAX_REQUEST: Final = 64 * 1024 * 1024
"""Bytes of one message. gRPC has one limit for all calls of a server: this one is for whole documents."""
LIMITS: Final = Limits(max_request_bytes=MAX_REQUEST, max_connection_age=0)  # who watches is not sent away
GRACE: Final = 5
"""Seconds that calls under way may take when the server stops."""


class GrpcServer:
    """Serves the functions of `management`."""

    def __init__(
        self, management: Management, authenticator: Authenticator, credentials: grpc.ServerCredentials | None = None
    ) -> None:
        """`credentials`: default plain text."""
        self._management, self._credentials = management, credentials
        self._access = AccessControl(authenticator)
        self._server: grpc.aio.Server | None = None
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]

    async def start(self, address: str) -> int:
        """Listen on `address` (port 0: any free one) and return the port. Raises AddressInUseError, and ValueError for what is
        no host:port."""
        host, port = split_address(address)
        try:
            await asyncio.get_running_loop().getaddrinfo(host, port)
        except (OSError, UnicodeError) as error:
            raise ValueError(f"{address!r} is no host:port of this machine: {host} has no address ({error})") from None
        server = grpc.aio.server(interceptors=[Answering(self._access)], options=grpc_options(LIMITS))
        self._add_services(server)
        try:
            if self._credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, self._credentials)
        except RuntimeError:
            port = 0
        if not port:
            raise AddressInUseError(f"cannot listen on {address}: the address is in use or not of this machine")
        for name in ("", *NAMES):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        await server.start()
        self._server = server
        return port

    async def stop(self) -> None:
        """Tell health checkers, take no new calls, let those under way end, for `GRACE` seconds at most, and close the port."""
        server, self._server = self._server, None
        if server is not None:
            await self._health.enter_graceful_shutdown()
            await server.stop(GRACE)

    def _add_services(self, server: grpc.aio.Server) -> None:
        management = self._management
        upstreams = DefinitionService(management, UPSTREAM, management.upstreams)
        gateways = DefinitionService(management, GATEWAY, management.gateways)
        definitions_pb2_grpc.add_UpstreamServiceServicer_to_server(upstreams, server)
        definitions_pb2_grpc.add_GatewayServiceServicer_to_server(gateways, server)
        targets_pb2_grpc.add_TargetServiceServicer_to_server(TargetService(management), server)
        nodes_pb2_grpc.add_NodeServiceServicer_to_server(NodeService(management), server)
        revisions_pb2_grpc.add_RevisionServiceServicer_to_server(RevisionService(management), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection([*NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
