"""Upstreams of one target each that are judged by their probes."""

from typing import Any

from served_upstreams import ServedUpstreams

FAST = {"interval": "50ms", "timeout": "2s", "healthy_threshold": 1, "unhealthy_threshold": 1}


def probed_by(**active: Any) -> dict[str, Any]:
    return {"active": {**FAST, **active}}


def judged(rig: ServedUpstreams, *cases: tuple[dict[str, Any], bool], **addresses: list[str]) -> list[str]:
    """Serve upstreams of one target each, and wait until those that should be are healthy and the others are not.

    A cluster is there once its only target was probed, so that none is unhealthy only because it is new.
    """
    names = rig.serve_all([fields for fields, _ in cases], **addresses)
    expected = ["HEALTHY" if good else "FAILED_ACTIVE_HC" for _, good in cases]
    seen: list[str] = []

    def reached() -> bool:
        seen[:] = ["".join(rig.health(name).values()) for name in names]
        return seen == expected

    rig.envoy.wait_until(reached, 10, f"{expected}, not {seen}")
    return names
