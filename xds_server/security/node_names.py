"""Which node a client certificate is for: one of its names must match a pattern like ``spiffe://a.example/{cluster}/{id}``.

`{id}` and `{cluster}` stand for what the node says that they are, `{any}` for anything. What a pattern does not hold is the
node's word alone, as its locality and its labels always are.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

from xds_server.security.addresses import is_loopback

PLACEHOLDERS: Final = ("{id}", "{cluster}", "{any}")
DEFAULT: Final = ("{id}", "spiffe://{any}/{id}")
"""A name that is the node's id, and a SPIFFE ID whose last part is."""

_SPLIT: Final = re.compile(r"(\{[^{}]*\})")
_SHOWN: Final = 10
"""Names of a certificate that a sentence shows."""
_LONGEST: Final = 200
"""Characters that it shows of what a client says."""


class Node(Protocol):
    """Who a client says it is."""

    @property
    def id(self) -> str: ...
    @property
    def cluster(self) -> str: ...
    @property
    def service(self) -> str: ...


class Options(Protocol):
    """What of the server's options decides; named as on the command line."""

    @property
    def tls_client_ca(self) -> Path | None: ...
    @property
    def node_names(self) -> tuple[str, ...]: ...
    @property
    def insecure(self) -> bool: ...


def check(pattern: str) -> str:
    """The pattern. Raises ValueError for what is none."""
    parts = _SPLIT.split(pattern)  # text and placeholders take turns
    used = parts[1::2]
    for part in used:
        if part not in PLACEHOLDERS:
            raise ValueError(f"{pattern!r}: there is no {part}, only {', '.join(PLACEHOLDERS)}")
    if not {"{id}", "{cluster}"} & set(used):
        raise ValueError(f"{pattern!r} holds neither {{id}} nor {{cluster}}: one certificate would do for every node")
    if len(set(used)) < len(used):
        raise ValueError(f"{pattern!r} holds a placeholder twice")
    if "" in parts[2:-1:2]:
        raise ValueError(f"{pattern!r}: something must stand between two placeholders, or they cannot be told apart")
    return pattern


def matches(pattern: str, node: Node, name: str) -> bool:
    """Whether the name of a certificate is that of `node`.

    What `{id}` and `{cluster}` stand for may not hold the characters beside them that part them from another placeholder, so
    that no name is for two nodes: otherwise ``spiffe://x/{cluster}/{id}`` would let the owner of ``spiffe://x/a/b/c`` be
    ``b/c`` of ``a`` and ``c`` of ``a/b``.
    """
    texts, placeholders = _SPLIT.split(pattern)[::2], _SPLIT.split(pattern)[1::2]
    expression = re.escape(texts[0])
    for index, placeholder in enumerate(placeholders):
        before = texts[index][-1] if index > 0 else ""
        after = texts[index + 1][0] if index < len(placeholders) - 1 else ""
        value = {"{id}": node.id, "{cluster}": node.cluster}.get(placeholder)
        if value is not None and (not value or {before, after} & set(value)):
            return False
        expression += (".+" if value is None else re.escape(value)) + re.escape(texts[index + 1])
    return re.fullmatch(expression, name, re.DOTALL) is not None


class NodeRule:
    """Lets a client be a node only where its certificate is for that one. An `Authorize` of `xds`."""

    def __init__(self, patterns: Iterable[str] = DEFAULT) -> None:
        """Raises ValueError for what is no pattern."""
        self._patterns = tuple(map(check, patterns))

    def __call__(self, node: Node, names: tuple[str, ...] | None) -> str | None:
        """Why not; None when it may."""
        said = f"node {_shown(node.id)} of cluster {_shown(node.cluster)}"
        if names is None:
            return f"this client says that it is {said}, and shows no certificate"
        if any(matches(pattern, node, name) for pattern in self._patterns for name in names):
            return None
        shown = ", ".join(map(_shown, names[:_SHOWN])) + (" …" if len(names) > _SHOWN else "")
        return (
            f"this client says that it is {said}, and its certificate is for {shown or 'no DNS name and no URI'}: "
            f"one of its names must be {' or '.join(self._patterns)} (--node-names)"
        )


def node_rule(options: Options, http_address: str) -> Callable[[Node, tuple[str, ...] | None], str | None] | None:
    """The rule for clients of a server with these options; None where everyone may be any node.

    Where no client certificates are looked at, only those may who reach a port that is this machine's alone, or that was opened
    with ``--insecure``: see `addresses.refusal`. The HTTP port may be reached by others, for those with tokens, which pollers
    have not.
    """
    if options.tls_client_ca is not None:
        return NodeRule(options.node_names)
    if options.insecure or is_loopback(http_address):
        return None
    return _refuse_pollers


def _refuse_pollers(node: Node, _: tuple[str, ...] | None) -> str | None:
    if node.service != "rest":
        return None
    return "other machines reach this port, and it asks for no client certificates: polling needs --tls-client-ca there"


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
