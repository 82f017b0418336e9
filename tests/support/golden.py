"""The golden cases of the translation: `tests/translate/golden/NAME.in.yaml` and what it becomes, `NAME.out.yaml`.

An input is a definition file, and may have `addresses`: what the control plane resolved (see `resolved`). `/certs/` stands for
the directory of the test certificates.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import resolved
import yaml

from xds_server.upstreams import translate
from xds_server.upstreams.model import Document

TESTS = Path(__file__).resolve().parent.parent
GOLDEN = TESTS / "translate" / "golden"
CERTIFICATES = TESTS / "envoy" / "certs"


class Case(NamedTuple):
    """One input, read."""

    document: Document
    addresses: translate.Addresses

    def clusters(self) -> Iterator[Any]:
        return map(translate.cluster, self.document.upstreams)

    def assignments(self) -> Iterator[Any]:
        made = (translate.endpoints(upstream, self.addresses) for upstream in self.document.upstreams)
        return (assignment for assignment in made if assignment is not None)

    def routes(self) -> Any:
        made = map(translate.virtual_host, self.document.upstreams)
        return translate.route_configuration(host for host in made if host is not None)

    def listeners(self) -> Iterator[Any]:
        return map(translate.listener, self.document.gateways)

    def secrets(self) -> Iterator[Any]:
        return (secret for upstream in self.document.upstreams for secret in translate.secrets(upstream, {}))

    def messages(self) -> list[Any]:
        return [*self.clusters(), *self.assignments(), self.routes(), *self.listeners(), *self.secrets()]


def names() -> list[str]:
    """All cases."""
    return sorted(path.name.removesuffix(".in.yaml") for path in GOLDEN.glob("*.in.yaml"))


def read(name: str, *, certificates: Path | None = None) -> Case:
    """A case; with `certificates`, its `/certs/` is that directory."""
    text = (GOLDEN / f"{name}.in.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text if certificates is None else text.replace("/certs/", f"{certificates}/"))
    addresses = resolved.written(content.pop("addresses", {}))
    return Case(Document.model_validate(content), addresses)
