"""What is told of an upstream of these fields: what is refused, where and in which words, and lints."""

from typing import Any

from pydantic import ValidationError

from xds_server.upstreams.lint import lint
from xds_server.upstreams.model import Upstream, problems_of


def problems(**fields: Any) -> list[tuple[str, str]]:
    """Place and message of each problem; none where all is in order."""
    try:
        Upstream.model_validate({"name": "a", **fields})
    except ValidationError as error:
        return [(problem.field, problem.message) for problem in problems_of(error, Upstream)]
    return []


def lints(**fields: Any) -> list[str]:
    """Their codes."""
    return [each.code for each in lint([Upstream.model_validate({"name": "a", **fields})])]
