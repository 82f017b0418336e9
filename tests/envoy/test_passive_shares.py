"""Ejection by shares of failed requests and by comparison, where it is asked for."""

from contextlib import ExitStack
from itertools import cycle
from typing import Any

import pytest
from receiving_server import ReceivingServer
from served_upstreams import AT_ONCE, ServedUpstreams, target

from xds_server.testing import Backend, Backends, Load

pytestmark = pytest.mark.envoy

SECTION = "Passive health checks"


def served(rig: ServedUpstreams, servers: list[ReceivingServer], passive: dict[str, Any], ejected: int) -> str:
    """Sends requests through several intervals and until so many are ejected; the upstream's name."""
    judged = {"interval": "200ms", "ejection_time": "60s", "consecutive_errors": 0}
    name = rig.serve(list(map(target, servers)), health_checks={"passive": {**judged, **passive}})
    with Load(rig.port(), name, rate=60 * len(servers), connections=2) as load:
        rig.envoy.wait_until(lambda: rig.ejected(name) == ejected, 20)
        load.wait_for(12 * 4 * len(servers))
    assert rig.ejected(name) == ejected
    return name


@pytest.mark.feature(SECTION, "failure_percentage ejects the targets that fail too large a share of their requests")
def test_the_share_of_failures(rig: ServedUpstreams) -> None:
    with ExitStack() as stack:
        often, seldom, never = (
            stack.enter_context(ReceivingServer(status=cycle(statuses)))
            for statuses in ([500, 200, 503], [200, 200, 500], [200])
        )
        share = {"threshold": 50, "minimum_hosts": 3, "request_volume": 5}
        for changed, ejected in (
            ({}, 1),
            ({"threshold": 90}, 0),
            ({"threshold": 20}, 2),
            ({"minimum_hosts": 4}, 0),
            ({"request_volume": 1000}, 0),
        ):
            name = served(rig, [often, seldom, never], {"failure_percentage": {**share, **changed}}, ejected)
            expected = [often.address, seldom.address][:ejected]
            assert all(rig.health(name)[address] == "EJECTED" for address in expected)


@pytest.mark.feature(SECTION, "success_rate ejects the target that fails far more of its requests than the others")
def test_the_rate_of_success(rig: ServedUpstreams) -> None:
    with ExitStack() as stack:
        half = stack.enter_context(ReceivingServer(status=cycle([500, 200])))
        servers = [half, *(stack.enter_context(ReceivingServer()) for _ in range(4))]
        rate = {"stdev_factor": 1500, "request_volume": 5}
        for changed, ejected in (
            ({}, 1),
            ({"stdev_factor": 2100}, 0),  # one of five cannot be more than 2 standard deviations below
            ({"minimum_hosts": 6}, 0),
            ({"request_volume": 1000}, 0),
        ):
            name = served(rig, servers, {"success_rate": {**rate, **changed}}, ejected)
            assert (rig.health(name)[half.address] == "EJECTED") == bool(ejected)


@pytest.mark.feature(SECTION, "no target is ejected for being worse than the others unless success_rate is written")
def test_statistics_eject_nobody_unasked(rig: ServedUpstreams) -> None:
    with Backends(*"abcd") as backends, ReceivingServer(status=cycle([500, 200])) as half, Backend("e") as refusing:
        refusing.close()
        judged = {"interval": "500ms", "ejection_time": "60s"}
        # Fewer requests are enough for a judgement, which Envoy gives all the same.
        fields: dict[str, Any] = {"envoy": {**AT_ONCE, "outlier_detection": {"success_rate_request_volume": 10}}}
        targets = [target(each) for each in backends]
        answers, local = rig.serve_all(
            [
                {"targets": [*targets, target(half)], "health_checks": {"passive": judged}, **fields},
                {
                    "targets": [*targets, target(refusing)],
                    "health_checks": {"passive": {**judged, "consecutive_local_errors": 1_000_000}},
                    **fields,
                },
            ]
        )
        seen = {answers: "ejections_detected_success_rate", local: "ejections_detected_local_origin_success_rate"}
        for name, detected in seen.items():
            # It sees that one is worse than the others, and leaves it at that.
            rig.envoy.wait_until(
                lambda: rig.send(name, 100, connections=4) and rig.stat(name, f"outlier_detection.{detected}"),  # noqa: B023
                40,
            )
        assert rig.ejected(answers) == rig.ejected(local) == 0
