"""Stand-ins for what a definition names and a comparison of two does not know: addresses of host names, contents of secrets.

What has the same name stands for the same and what has another for another, so that an edit shows as what it is.
"""

import hashlib
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Final

from xds_server.delivery.resolving import questions
from xds_server.resolvers import Found, Question, SrvAddress
from xds_server.secrets.files import Kind
from xds_server.upstreams.model import Upstream
from xds_server.upstreams.translate import Addresses, HeldSecrets, held_secrets

_FILES: Final[Mapping[Kind, int]] = {"certificate": 2, "ca": 1}


class SecretStandIns:
    """Every secret that an upstream names, as if the control plane kept it."""

    def __init__(self, upstream: Upstream) -> None:
        self.held: HeldSecrets = {(kind, name): [name.encode()] * _FILES[kind] for kind, name in held_secrets(upstream)}

    def problem(self, key: tuple[Kind, str]) -> str:
        """None is missing."""
        return ""


def address_stand_ins(upstream: Upstream) -> Addresses:
    """An address for each host name that the control plane would resolve."""
    return {lookup: (_address(question),) for lookup, question in questions(upstream).items()}


def _address(question: Question) -> Found:
    address = str(IPv6Address(b"\xfd\0" + hashlib.blake2b(question.name.encode(), digest_size=14).digest()))
    return SrvAddress(0, 1, question.name, address, 1) if question.srv else address
