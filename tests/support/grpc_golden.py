"""The golden cases of the translation for gRPC clients: `tests/translate/proxyless/NAME.in.yaml` and what it becomes.

An input is a definition file, and may have `addresses`: what the control plane resolved (see `resolved`). The outcome of
each upstream is its warnings as comments and its resources, or why there are none.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import resolved
import yaml

from xds_server.upstreams.model import Document, Upstream
from xds_server.upstreams.translate import Addresses
from xds_server.upstreams.translate.message_types import message_type
from xds_server.upstreams.translate.proxyless import ProxylessError, proxyless_resources
from xds_server.upstreams.translate.render import to_yaml
from xds_server.xds import Resource

GOLDEN = Path(__file__).resolve().parent.parent / "translate" / "proxyless"


def names() -> list[str]:
    """All cases."""
    return sorted(path.name.removesuffix(".in.yaml") for path in GOLDEN.glob("*.in.yaml"))


def read(name: str) -> Iterator[tuple[Upstream, Addresses]]:
    """The upstreams of a case, and the addresses that are known."""
    content = yaml.safe_load((GOLDEN / f"{name}.in.yaml").read_text(encoding="utf-8"))
    addresses = resolved.written(content.pop("addresses", {}))
    for upstream in Document.model_validate(content).upstreams:
        yield upstream, addresses


def outcome(upstream: Upstream, addresses: Addresses) -> str:
    """What is written beside a case."""
    try:
        resources, warnings = proxyless_resources(upstream, addresses)
    except ProxylessError as error:
        return f"# {upstream.name}: not served\n# {error}\n"
    lines = [f"# {upstream.name}", *(f"# warning: {warning}" for warning in warnings)]
    return "\n".join(lines) + "\n" + to_yaml(map(message, resources))


def message(resource: Resource) -> Any:
    kind = message_type(resource.type_url.rpartition("/")[2])
    assert kind is not None
    return kind.FromString(resource.body)
