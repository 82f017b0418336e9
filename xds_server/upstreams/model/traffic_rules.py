"""What contradicts itself in how requests travel: limits, times, retries, connections."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from xds_server.upstreams.model.base import Problem
from xds_server.upstreams.model.traffic import TIMED_OUT_TRIES, Limits, Retries

if TYPE_CHECKING:
    from xds_server.upstreams.model.upstream import Upstream


def limits_contradictions(limits: Limits) -> Iterator[Problem]:
    """A share of retries and a number of them are two answers to one question."""
    if limits.max_retries is not None and limits.retry_budget is not None:
        message = "max_retries and retry_budget limit the same: give one of them"
        yield Problem(("limits", "retry_budget"), message, (("limits", "max_retries"),))


def retries_contradictions(retries: Retries, timeout: timedelta) -> Iterator[Problem]:
    """What Envoy refuses, or would never do."""
    per_try = retries.per_try_timeout
    if per_try is not None:
        here = ("retries", "per_try_timeout")
        if timeout and per_try >= timeout:
            message = "is not below timeout, which ends all tries together: no second one would ever begin"
            yield Problem(here, f"per_try_timeout {message}", (("timeout",),))
        if not set(retries.on) & set(TIMED_OUT_TRIES):
            message = f"a try that took too long is retried only with one of {', '.join(TIMED_OUT_TRIES)} in on"
            yield Problem(here, message, (("retries", "on"),))
    back_off = retries.back_off
    if back_off.max_interval is not None and back_off.max_interval < back_off.base_interval:
        about = (("retries", "back_off", "base_interval"),)
        yield Problem(("retries", "back_off", "max_interval"), "max_interval is below base_interval", about)


def protocol_contradictions(upstream: "Upstream") -> Iterator[Problem]:
    """Fields that say something to one protocol and nothing to the one that is spoken."""
    keepalive, protocol = upstream.keepalive, upstream.protocol
    if keepalive.http2 is not None and protocol not in ("http2", "auto"):
        message = f"pings are part of HTTP/2, but protocol is {protocol}: use keepalive.tcp"
        yield Problem(("keepalive", "http2"), message, (("protocol",),))
    if protocol == "tcp":
        for field in ("idle_timeout", "max_requests", "max_duration"):
            if getattr(keepalive, field) is not None:
                message = f"{field} is about HTTP connections that are used again, but protocol is tcp"
                yield Problem(("keepalive", field), message, (("protocol",),))
        for field in ("max_requests", "max_retries", "retry_budget"):
            if getattr(upstream.limits, field) is not None:
                message = f"{field} counts HTTP requests, but protocol is tcp: use max_connections"
                yield Problem(("limits", field), message, (("protocol",),))
        if upstream.idle_timeout is not None:
            message = "idle_timeout is about HTTP answers, but protocol is tcp: set the gateway's idle_timeout"
            yield Problem(("idle_timeout",), message, (("protocol",),))
