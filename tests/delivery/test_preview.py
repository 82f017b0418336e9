"""What a dry run says of changes whose host names it does not look up, and whose secrets it does not read."""

from datetime import UTC, datetime
from typing import Any

import pytest

from xds_server.catalog.store.records import UPSTREAM
from xds_server.delivery.preview import Difference, Preview, Values, previews
from xds_server.upstreams.model import Upstream

ADDRESS = {"host": "10.0.0.1", "port": 80}
OTHER = {"host": "10.0.0.2", "port": 80}
NAME = {"host": "db.example", "port": 80}
SRV = {"host": "_db._tcp.example", "port": "srv"}
HELD = {"sni": "a", "ca": "one", "certificate": "one"}


def values(*targets: dict[str, Any], **fields: Any) -> Values:
    upstream = {"name": "u", "algorithm": "weighted-round-robin", "targets": targets, **fields}
    return {(UPSTREAM, "u"): Upstream.model_validate(upstream)}


def preview(before: Values, after: Values) -> Preview:
    (only,) = previews(Difference(before, after), [], datetime.now(UTC))
    return only


@pytest.mark.parametrize(
    ("edit", "drops"),
    [
        ({"weight": 5}, ()),
        ({"state": "draining"}, ()),
        ({"state": "disabled"}, ()),
        ({"priority": 1}, ()),
        ({"locality": {"zone": "z"}}, ("connections of 1 target(s)",)),
    ],
)
@pytest.mark.parametrize("target", [ADDRESS, NAME, SRV], ids=["address", "name", "srv"])
def test_edits_of_targets(target: dict[str, Any], edit: dict[str, Any], drops: tuple[str, ...]) -> None:
    did = preview(values(target, OTHER), values({**target, **edit}, OTHER)).effects
    assert (str(did), did.drops) == ("endpoints", drops)


def test_names_that_come_and_go() -> None:
    other = {**NAME, "host": "other.example"}
    for before, after in (([NAME], [NAME, other]), ([NAME], [other]), ([NAME], []), ([NAME], [{**NAME, "port": 81}])):
        assert str(preview(values(*before), values(*after)).effects) == "endpoints"
    assert str(preview(values(NAME), values({**NAME, "description": "words"})).effects) == "nothing"


@pytest.mark.parametrize("field", ["ca", "certificate"])
def test_secrets_that_are_replaced_by_others(field: str) -> None:
    did = preview(values(ADDRESS, tls=HELD), values(ADDRESS, tls={**HELD, field: "other"})).effects
    assert (str(did), did.drops) == ("certificates", ())
