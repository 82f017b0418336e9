"""Who is asking, and whether they may: pure rules over what a request says, for HTTP and gRPC alike.

A token or a client certificate identifies. Where there is neither a token nor a certificate with a role, nobody can be told
from anybody: then all who reach a port that only this machine reaches, or that was opened with ``--insecure``, are let in.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from urllib.parse import urlsplit

from xds_server.security.addresses import is_loopback
from xds_server.security.roles import Role, permits, rank
from xds_server.security.tokens import Token, find, id_of, is_expired

CHALLENGE: Final = "Bearer"
"""The header WWW-Authenticate of every 401."""


class AccessError(Exception):
    """A request that is refused, with what a problem document says of it. Nothing in it is secret."""

    status: int
    title: str

    @property
    def detail(self) -> str:
        """What is wrong, and what to do."""
        return str(self)


class UnauthenticatedError(AccessError):
    """It is not known who is asking. HTTP 401, gRPC UNAUTHENTICATED."""

    status, title = 401, "Who is asking?"


class ForbiddenError(AccessError):
    """It is known, and they may not. HTTP 403, gRPC PERMISSION_DENIED."""

    status, title = 403, "Not allowed"


@dataclass(frozen=True, slots=True)
class Caller:
    """What a request says of who sent it."""

    authorization: str | None = field(default=None, repr=False)
    """The header (gRPC: the metadata) of that name."""
    certificate: tuple[str, ...] | None = None
    """DNS names and URIs of the client's certificate; None where none was shown."""
    host: str | None = None
    """The header Host; None for gRPC."""
    origin: str | None = None
    """The header Origin, which browsers send."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking."""

    name: str
    """Of the token; or the name in the certificate; or `local` or `anyone`."""
    role: Role
    by: Literal["token", "certificate", "nobody"]
    """What proves it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one server."""

    certificates: Mapping[str, Role] = field(default_factory=dict)
    """Roles of client certificates, by DNS name or URI."""
    open_to: Literal["nobody", "local", "anyone"] = "nobody"
    """Who is let in as admin while no token exists and no certificate has a role."""
    hosts: Collection[str] = ()
    """By which names, besides those of loopback. None: where `anyone` is let in, by any; else by no further one."""


def identify(caller: Caller, tokens: Collection[Token], policy: Policy, now: datetime) -> Identity:
    """Who is asking. Raises UnauthenticatedError, and ForbiddenError for a web page of another site.

    `tokens`: all that exist, expired ones too: a server does not open again when its last token expires.
    """
    if caller.authorization is not None:
        return _by_token(caller.authorization, tokens, now)
    roles = [(policy.certificates[name], name) for name in caller.certificate or () if name in policy.certificates]
    if roles:
        role, name = max(roles, key=lambda found: rank(found[0]))
        return Identity(name, role, "certificate")
    if policy.open_to == "nobody" or tokens or policy.certificates:
        raise UnauthenticatedError(_who(caller, tokens, policy))
    _refuse_other_sites(caller, policy)
    return Identity(policy.open_to, Role.ADMIN, "nobody")


def require(identity: Identity, needed: Role, action: str = "this") -> None:
    """Raises ForbiddenError where `identity` may not do what needs `needed`. `action`: subject of the sentence."""
    if not permits(identity.role, needed):
        raise ForbiddenError(
            f"{action} needs the role {needed}, and {identity.name!r} has {identity.role}: use a token that has it"
        )


def _by_token(authorization: str, tokens: Collection[Token], now: datetime) -> Identity:
    scheme, _, text = authorization.strip().partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthenticatedError("the header Authorization must be 'Bearer' and a token")
    token = find(text.strip(), tokens)
    if token is None:
        hint = "" if tokens else "; there is none here: leave it out, or make one with `xds-server token create`"
        which = f" (…{found})" if (found := id_of(text.strip())) else ""
        raise UnauthenticatedError(f"this token{which} is not known here: it was revoked, or is another server's{hint}")
    if is_expired(token, now):
        raise UnauthenticatedError(f"the token {token.name!r} expired at {token.expires:%Y-%m-%d %H:%M:%S} UTC")
    return Identity(token.name, token.role, "token")


def _who(caller: Caller, tokens: Collection[Token], policy: Policy) -> str:
    if caller.certificate is not None and policy.certificates:
        names = ", ".join(map(repr, caller.certificate)) or "no DNS name and no URI"
        return f"the client certificate has no role here (it is for {names}): see --client-roles, or send a token"
    make = "" if tokens else "; none exists yet: make one with `xds-server token create`"
    return f"a token is needed, in the header Authorization as 'Bearer' and the token{make}"


def _refuse_other_sites(caller: Caller, policy: Policy) -> None:
    """Who needs no token is known by where they are, and a web page makes a browser there send what it likes."""
    if caller.origin is not None and urlsplit(caller.origin).netloc != caller.host:
        raise ForbiddenError("requests of another site's web page need a token")
    if caller.host is None or (policy.open_to == "anyone" and not policy.hosts):
        return
    if not is_loopback(caller.host) and _name_in(caller.host) not in policy.hosts:
        # A name that another site made to point here, by which its page may read what is answered.
        further = f", or to {', '.join(policy.hosts)}" if policy.hosts else ""
        raise ForbiddenError(
            f"requests without a token must be sent to localhost, 127.0.0.1 or [::1]{further}, by that name"
        )


def _name_in(host: str) -> str:
    """Without the port, and without the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
