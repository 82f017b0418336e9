"""Who was not let in is in the log: each once a minute, never with a secret, and never as a line of their own making."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from xds_server.security.access import AccessError, ForbiddenError, UnauthenticatedError
from xds_server.security.refusal_log import LINES, LONGEST, PERIOD, RefusalLog

UNKNOWN = UnauthenticatedError("a token is needed")


class Clock:
    time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def told(log: RefusalLog, *calls: tuple[AccessError, str, str]) -> list[Any]:
    with capture_logs() as lines:
        for call in calls:
            log.tell(*call)
    return lines


def test_who_from_where_what_and_why(clock: Clock) -> None:
    (line,) = told(RefusalLog(clock), (UNKNOWN, "10.0.0.9", "GET /v1/upstreams"))
    assert line == {
        "event": "access.refused",
        "log_level": "warning",
        "status": 401,
        "client": "10.0.0.9",
        "action": "GET /v1/upstreams",
        "problem": "a token is needed",
    }


def test_one_who_knocks_on_is_a_number(clock: Clock) -> None:
    log = RefusalLog(clock)
    again = [(UNKNOWN, "10.0.0.9", "GET /v1/nodes")] * 1_000
    assert len(told(log, *again)) == 1
    assert len(told(log, (ForbiddenError("not this"), "10.0.0.9", "GET /"))) == 1, "another kind is news"
    assert len(told(log, (UNKNOWN, "10.0.0.8", "GET /"))) == 1, "and so is another address"
    clock.time += PERIOD
    rest, line = told(log, again[0])
    assert (rest["more"], rest["within"], line["client"]) == (999, "60 s", "10.0.0.9")
    clock.time += PERIOD
    assert len(told(log, again[0])) == 1, "nothing more is not told"


def test_many_addresses_fill_no_disk(clock: Clock) -> None:
    log = RefusalLog(clock)
    assert len(told(log, *((UNKNOWN, f"fd00::{number:x}", "GET /") for number in range(5_000)))) == LINES


def test_what_strangers_send_is_no_line_of_its_own(clock: Clock) -> None:
    action = "GET /\n2026-11-27 [info] all is well \x1b[31m" + "x" * 10_000
    (line,) = told(RefusalLog(clock), (UNKNOWN, "10.0.0.9", action))
    assert line["action"].isprintable()
    assert "\n" not in line["action"]
    assert len(line["action"]) < 4 * LONGEST
