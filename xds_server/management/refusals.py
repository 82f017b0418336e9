"""What HTTP and gRPC say alike of a request that was refused. Pure."""

from xds_server.catalog.errors import InvalidError, RefusedError, StillNeededError
from xds_server.catalog.store.engine import InDoubtError, StoreError
from xds_server.management.bodies import BodyError
from xds_server.upstreams.model import Problem


def problems(error: RefusedError) -> list[Problem]:
    """Each field that is wrong; none where it is not about fields. Locations begin at the top of the body, or, where
    definitions clash, in the definition that the message then names."""
    if isinstance(error, BodyError):
        return list(error.problems)
    if not isinstance(error, InvalidError) or isinstance(error, StillNeededError):
        return []
    several = len(error.problems) > 1
    return [
        Problem(each.location, f"{key[0]} {key[1]}: {each.message}" if several else each.message)
        for key, found in error.problems.items()
        for each in found
    ]


def not_writable(error: StoreError) -> str:
    """That the store is lost, and what that means."""
    changed = "" if isinstance(error, InDoubtError) else "nothing was changed, and "
    return f"{error}; {changed}what is in force goes on being served"
