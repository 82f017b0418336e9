"""Who asks over gRPC, and whether they may. Health checking and reflection need nobody's leave."""

from typing import Any, Final

from xds_server.management.actor import Actor
from xds_server.management.grpc.calls import client_address
from xds_server.security.access import AccessError, Caller, require
from xds_server.security.authenticator import Authenticator
from xds_server.security.refusal_log import RefusalLog
from xds_server.security.roles import Role

_LOOKS: Final = ("Get", "List", "Diff", "Watch")
_TRIES: Final = ("Apply", "Diff")
_OPERATES: Final = ("TargetService/Patch", "TargetService/UpdateTargets")


class AccessControl:
    """Lets calls through by the role of who makes them."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._refusals = RefusalLog()

    async def admit(self, method: str, request: Any, context: Any) -> Actor:
        """Who makes a call. Raises AccessError for one who may not. `request`: None for a stream of them."""
        authorization = dict(context.invocation_metadata() or ()).get("authorization")
        client = client_address(context.peer())
        try:
            identity = await self._authenticator.identify(Caller(authorization))
            require(identity, needed_role(method, request), method)
        except AccessError as error:
            self._refusals.tell(error, client, method)
            raise
        return Actor(identity.name, client)


def needed_role(method: str, request: Any) -> Role:
    """What a call (``RevisionService/Apply``) needs: looking at things, and dry runs, `read`; what operators say of targets
    `operate`; else `write`, also to have an Envoy run on the server's machine."""
    name = method.rpartition("/")[2]
    if name in _TRIES and request.with_envoy:
        return Role.WRITE
    if name in _LOOKS or (name == "Apply" and request.dry_run):
        return Role.READ
    return Role.OPERATE if method in _OPERATES else Role.WRITE
