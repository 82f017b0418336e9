"""What a cluster or listener was before, from the history of its definition: for clients that refuse what it is now."""

from collections.abc import Awaitable, Callable, Sequence

from xds_server.delivery.audience import NodeGroup
from xds_server.delivery.compiled import NotServableError, Secrets, compile_gateway, compile_upstream
from xds_server.delivery.in_force import Definition, Key
from xds_server.upstreams.model import Upstream
from xds_server.xds import CLUSTER, LISTENER, Resource

History = Callable[[Key], Awaitable[Sequence[Definition]]]
"""What a definition was before what it is, newest first."""
_KINDS = {CLUSTER: "upstream", LISTENER: "gateway"}


async def earlier(refused: Resource, group: NodeGroup, history: History, secrets: Secrets) -> Resource | None:
    """The newest version of `refused` that was another one, as `group` receives it; None where there is none.

    Raises what `history` raises.
    """
    if (kind := _KINDS.get(refused.type_url)) is None:
        return None
    for definition in await history((kind, refused.name.partition("#")[0])):
        found = _compiled(definition, refused, group, secrets)
        if found is not None and found != refused:
            return found
    return None


def _compiled(definition: Definition, like: Resource, group: NodeGroup, secrets: Secrets) -> Resource | None:
    value = definition.value
    try:
        if isinstance(value, Upstream):
            compiled = compile_upstream(value, {}, group.dialect, secrets=secrets)
        else:
            compiled = compile_gateway(value, group.dialect)
    except NotServableError:
        return None
    return next((r for r in compiled.resources if (r.type_url, r.name) == (like.type_url, like.name)), None)
