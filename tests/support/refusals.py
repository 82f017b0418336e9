"""What is refused of an upstream, where, and in which words."""

from typing import Any

from pydantic import ValidationError

from xds_server.upstreams.model import Upstream, problems_of


def problems(**fields: Any) -> list[tuple[str, str]]:
    """Place and message of each problem of an upstream of these fields; none for one that is in order."""
    try:
        Upstream.model_validate({"name": "a", **fields})
    except ValidationError as error:
        return [(problem.field, problem.message) for problem in problems_of(error, Upstream)]
    return []
