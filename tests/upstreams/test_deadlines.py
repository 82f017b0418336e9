"""A drain with a deadline means `disabled` from then on, without another edit."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from xds_server.upstreams.deadlines import as_of, next_deadline
from xds_server.upstreams.model import Upstream, problems_of
from xds_server.upstreams.translate import endpoints

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def upstream(*deadlines: str | None) -> Upstream:
    targets: list[dict[str, Any]] = [{"host": "10.0.0.1", "port": 80}]
    for number, deadline in enumerate(deadlines, 2):
        more = {"drain_until": deadline} if deadline else {}
        targets.append({"host": f"10.0.0.{number}", "port": 80, "state": "draining", **more})
    return Upstream.model_validate({"name": "a", "targets": targets})


def test_a_target_is_disabled_from_its_deadline_on() -> None:
    draining = upstream("2026-11-24T13:00:00+01:00", None)
    assert as_of(draining, NOON - SECOND) is draining, "nothing to do, nothing made"
    assert [target.state for target in as_of(draining, NOON).targets] == ["enabled", "disabled", "draining"]
    by_hand = upstream().model_copy(update={"targets": (draining.targets[0], draining.targets[2])})
    assert endpoints(as_of(draining, NOON)) == endpoints(by_hand)
    assert endpoints(as_of(draining, NOON - SECOND)) == endpoints(upstream(None, None)), "the time is no part of EDS"


def test_the_next_deadline() -> None:
    draining = upstream("2026-11-24T12:00:02Z", "2026-11-24T12:00:01Z", None)
    assert next_deadline(draining, NOON) == NOON + SECOND
    assert next_deadline(draining, NOON + SECOND) == NOON + 2 * SECOND
    assert next_deadline(draining, NOON + 2 * SECOND) is None


@pytest.mark.parametrize("state", ["enabled", "disabled", "unhealthy"])
def test_only_a_drain_has_a_deadline(state: str) -> None:
    target = {"host": "10.0.0.1", "port": 80, "state": state, "drain_until": "2026-11-24T12:00:00Z"}
    with pytest.raises(ValidationError) as raised:
        Upstream.model_validate({"name": "a", "targets": [target]})
    (problem,) = problems_of(raised.value, Upstream)
    assert problem.field == "targets[0].drain_until"
    assert "write state: draining" in problem.message


@pytest.mark.parametrize("text", ["2026-11-24T12:00:00", "2026-11-24", "12:00", "2026-02-30T12:00:00Z", 1764000000, ""])
def test_a_time_needs_date_and_zone(text: Any) -> None:
    target = {"host": "10.0.0.1", "port": 80, "state": "draining", "drain_until": text}
    with pytest.raises(ValidationError) as raised:
        Upstream.model_validate({"name": "a", "targets": [target]})
    assert "is not a time" in problems_of(raised.value, Upstream)[0].message


def test_a_time_is_shown_in_utc() -> None:
    shown = upstream("2026-11-24T13:00:00.5+01:00").model_dump(mode="json")
    assert shown["targets"][1]["drain_until"] == "2026-11-24T12:00:00.500000Z"
    assert Upstream.model_validate(shown) == upstream("2026-11-24T12:00:00.5Z")
