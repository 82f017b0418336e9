"""What a definition needs beside itself to be served: answers to questions, and secrets."""

from typing import Final, NamedTuple

from xds_server.delivery.resolving import questions
from xds_server.resolvers import Question
from xds_server.secrets.store import Key as SecretKey
from xds_server.upstreams.model import Gateway, Upstream
from xds_server.upstreams.translate import held_secrets


class Needs(NamedTuple):
    """Of one definition."""

    hosts: frozenset[Question] = frozenset()
    """What the control plane resolves for it."""
    secrets: frozenset[SecretKey] = frozenset()
    """Secrets that it names and the control plane keeps."""

    def __bool__(self) -> bool:
        return bool(self.hosts or self.secrets)


NOTHING: Final = Needs()


def needs_of(value: Upstream | Gateway) -> Needs:
    """What a definition needs."""
    if not isinstance(value, Upstream):
        return NOTHING
    hosts, secrets = frozenset(questions(value).values()), frozenset(held_secrets(value))
    return Needs(hosts, secrets) if hosts or secrets else NOTHING
