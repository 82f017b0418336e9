"""What contradicts itself in the health checks of an upstream, or would be ignored by Envoy without a word."""

from collections.abc import Iterator, Sequence

from xds_server.upstreams.model.active_checks import ActiveHealthCheck, ProbeTls
from xds_server.upstreams.model.base import Location, Problem
from xds_server.upstreams.model.health import HealthChecks
from xds_server.upstreams.model.passive_checks import PassiveHealthCheck
from xds_server.upstreams.model.target import Target
from xds_server.upstreams.model.tls import Tls

_ACTIVE: Location = ("health_checks", "active")
_PASSIVE: Location = ("health_checks", "passive")
_OF_REQUESTS = {"path", "method", "host", "headers", "body", "expected_statuses", "expected_body"}
_OF_TYPES = {
    "http": _OF_REQUESTS,
    "https": _OF_REQUESTS,
    "tcp": {"send", "receive"},
    "grpc": {"service", "host", "headers"},
}
_METHODS_WITH_BODY = ("POST", "PUT", "PATCH", "OPTIONS")


def health_contradictions(
    checks: HealthChecks, targets: Sequence[Target], protocol: str, tls: Tls | None
) -> Iterator[Problem]:
    """Every pair of fields about health that cannot both be meant. `protocol` and `tls` are those of the traffic."""
    if checks.active is not None:
        yield from _types(checks.active, protocol)
        yield from _payloads(checks.active)
        yield from _transport(checks.active, targets, tls)
    if checks.passive is not None:
        yield from _passive(checks.passive, protocol, has_probes=checks.active is not None)
    yield from _targets(targets, checks.active)


def _types(active: ActiveHealthCheck, protocol: str) -> Iterator[Problem]:
    special = set[str]().union(*_OF_TYPES.values())
    for field in sorted(active.model_fields_set & special - _OF_TYPES[active.type]):
        yield Problem((*_ACTIVE, field), f"{field} has no meaning for {active.type} probes", ((*_ACTIVE, "type"),))
    if active.type == "grpc" and protocol != "http2":
        yield Problem((*_ACTIVE, "type"), f"grpc probes need protocol: http2, not {protocol}", (("protocol",),))


def _payloads(active: ActiveHealthCheck) -> Iterator[Problem]:
    method = (*_ACTIVE, "method")
    if active.body is not None and active.is_http and active.method not in _METHODS_WITH_BODY:
        message = f"a {active.method} has no body: use one of the methods {', '.join(_METHODS_WITH_BODY)}"
        yield Problem((*_ACTIVE, "body"), message, (method,))
    if active.expected_body and active.is_http and active.method == "HEAD":
        message = "the answer to a HEAD has no body: use GET, or leave expected_body out"
        yield Problem((*_ACTIVE, "expected_body"), message, (method,))
    if active.send is not None and active.type == "tcp" and not active.receive:
        message = (
            "Envoy closes the connection at once, and sends nothing, unless it is to receive something: add receive"
        )
        yield Problem((*_ACTIVE, "send"), message, ((*_ACTIVE, "receive"),))


def _transport(active: ActiveHealthCheck, targets: Sequence[Target], tls: Tls | None) -> Iterator[Problem]:
    own, kind = (*_ACTIVE, "tls"), (*_ACTIVE, "type")
    if active.plaintext and active.tls is not None:
        message = "probes go over TLS of their own or in plaintext, not both: leave out tls or plaintext"
        yield Problem((*_ACTIVE, "plaintext"), message, (own,))
    elif active.plaintext and active.type == "https":
        yield Problem((*_ACTIVE, "plaintext"), "https is not plaintext: use type: http", (kind,))
    elif active.type == "https" and active.tls is None and tls is None:
        message = "the upstream has no tls: give the probes their own, tls: {sni: …} or tls: {verify: false}"
        yield Problem(kind, message, (own, ("tls",)))
    if active.tls is not None:
        yield from _own_tls(active.tls, targets, tls)


def _own_tls(own: ProbeTls, targets: Sequence[Target], tls: Tls | None) -> Iterator[Problem]:
    here: Location = (*_ACTIVE, "tls")
    if own.ca_file and not own.verify:
        yield Problem((*here, "ca_file"), "ca_file has no meaning with verify: false", ((*here, "verify"),))
    if not own.verify or own.sni is not None:
        return
    unnamed = next((index for index, target in enumerate(targets) if not target.needs_resolving), None)
    if unnamed is not None:
        message = "a target given by IP address has no name to verify: set sni, or verify: false"
        yield Problem((*here, "sni"), message, (("targets", unnamed, "host"), (*here, "verify")))
    elif tls is None or tls.sni is not None:
        # Elsewhere Envoy is not told a target's own name.
        message = "only where the upstream's own tls has no sni are targets asked by their own names: set sni"
        yield Problem((*here, "sni"), message, ((*here, "verify"), ("tls",)))


def _passive(passive: PassiveHealthCheck, protocol: str, *, has_probes: bool) -> Iterator[Problem]:
    if protocol == "tcp":
        for field in ("error_statuses", "consecutive_gateway_errors"):
            if getattr(passive, field):
                message = f"{field} is about HTTP answers, but protocol is tcp: use consecutive_errors"
                yield Problem((*_PASSIVE, field), message, (("protocol",),))
    longest = passive.max_ejection_time
    if longest is not None and longest < passive.ejection_time:
        message = "max_ejection_time is shorter than ejection_time"
        yield Problem((*_PASSIVE, "max_ejection_time"), message, ((*_PASSIVE, "ejection_time"),))
    if passive.uneject_on_passed_probe and not has_probes:
        message = "without health_checks.active there are no probes to pass: add it, or leave this out"
        yield Problem((*_PASSIVE, "uneject_on_passed_probe"), message, (_ACTIVE,))
    others = (
        passive.consecutive_gateway_errors,
        passive.consecutive_local_errors,
        passive.failure_percentage,
        passive.success_rate,
    )
    if passive.consecutive_errors == 0 and not any(others):
        message = "nothing would ever be ejected: count something else, or leave passive out"
        yield Problem((*_PASSIVE, "consecutive_errors"), message)


def _targets(targets: Sequence[Target], active: ActiveHealthCheck | None) -> Iterator[Problem]:
    for index, target in enumerate(targets):
        here: Location = ("targets", index, "health_check")
        if active is None:
            for field in [field for field in ("port", "address", "hostname") if getattr(target.health_check, field)]:
                message = f"nothing is probed without health_checks.active: add it, or leave {field} out"
                yield Problem((*here, field), message, (_ACTIVE,))
        elif active.type == "tcp" and target.health_check.hostname is not None:
            yield Problem((*here, "hostname"), "a tcp probe asks for no host", ((*_ACTIVE, "type"),))
