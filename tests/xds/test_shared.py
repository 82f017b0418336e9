"""What the streams of a group share: names are read once, answers are made once, and nobody gets what another one asked for."""

from typing import Any
from unittest.mock import patch

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_client import Client, cluster, endpoints, names_of

from xds_server.xds import CLUSTER, ENDPOINTS, Snapshot
from xds_server.xds import group as group_module
from xds_server.xds.group import MANY_NAMES, SHARED, Group
from xds_server.xds.resource import Resource
from xds_server.xds.sotw import SotwStream, SotwWatch
from xds_server.xds.subscription import Subscription, encoded_names

NAMES = [f"u{number:03}" for number in range(MANY_NAMES + 50)]
STREAMS = 100


def clients(count: int = STREAMS) -> tuple[Group, list[Client]]:
    group = Group("")
    group.publish(Snapshot.of([made for name in NAMES for made in (cluster(name), endpoints(name))]))
    found = []
    for number in range(count):
        client = Client(SotwStream(lambda _: group), group, [])
        client.node = f"n{number}"
        found.append(client)
    return group, found


def asked_and_accepted(client: Client, *names: str) -> list[Any]:
    """All first answers, acknowledged."""
    answers = client.ask(CLUSTER)
    answers += client.accept(*answers)
    more = client.ask(ENDPOINTS, *names)
    client.accept(*more)
    return answers + more


def test_first_answers_are_made_once_for_all_streams() -> None:
    _, streams = clients()
    with (
        patch.object(SotwWatch, "_body", autospec=True, side_effect=SotwWatch._body) as bodies,
        patch.object(Subscription, "of", side_effect=Subscription.of) as read,
        patch.object(group_module, "_whole", side_effect=group_module._whole) as listed,
    ):
        answers = [asked_and_accepted(client, *NAMES) for client in streams]
    assert [[names_of(answer) for answer in each] for each in answers] == [[NAMES, NAMES]] * STREAMS
    assert bodies.call_count == 2, "one of clusters, one of endpoints"
    assert len([call for call in read.call_args_list if len(call.args[0]) >= MANY_NAMES]) == 1
    assert listed.call_count == 2, "and all names are sorted once"
    assert len({id(client.stream._watches[ENDPOINTS].names) for client in streams}) == 1


def test_a_change_is_answered_to_all_from_one_body() -> None:
    group, streams = clients()
    for client in streams:
        asked_and_accepted(client, *NAMES)
    old, new = group.snapshot, group.snapshot.change([endpoints("u007", 9)])  # type: ignore[union-attr]
    group.publish(new)
    with patch.object(SotwWatch, "_body", autospec=True, side_effect=SotwWatch._body) as bodies:
        for client in streams:
            assert client.stream.advance(old, new)
            assert [names_of(answer) for answer in client.sent()] == [["u007"]]
    assert bodies.call_count == 1


def test_who_asks_for_something_else_gets_that() -> None:
    _, (one, fewer, turned, wild) = clients(4)
    asked_and_accepted(one, *NAMES)
    assert names_of(asked_and_accepted(fewer, *NAMES[:-1])[-1]) == NAMES[:-1]
    assert names_of(asked_and_accepted(turned, *reversed(NAMES))[-1]) == NAMES
    assert names_of(asked_and_accepted(wild, *NAMES[1:], "*")[-1]) == NAMES
    assert [client.stream._watches[ENDPOINTS].wildcard for client in (one, fewer, turned, wild)] == [False] * 3 + [True]
    # Later requests are no less exact.
    one.want(ENDPOINTS, *NAMES[:-2])
    one.change(endpoints(NAMES[-1], 2), endpoints(NAMES[-3], 2))
    assert [names_of(answer) for answer in one.sent()] == [[NAMES[-3]]]


def test_as_few_different_requests_are_known_as_are_worth_it() -> None:
    group, (client,) = clients(1)
    for number in range(3 * SHARED):
        client.want(ENDPOINTS, *NAMES, f"more-{number}")
    assert len(group._requested) == SHARED
    assert client.stream._watches[ENDPOINTS].names == {*NAMES, f"more-{3 * SHARED - 1}"}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "b", "c", "*", "", "\n\x01b"]), max_size=4),
    st.lists(st.sampled_from(["a", "b", "c", "*", "", "\n\x01b"]), max_size=4),
    st.fixed_dictionaries({}, optional={"version_info": st.text(), "response_nonce": st.text(), "type_url": st.text()}),
)
def test_bytes_of_names_are_equal_where_the_names_are(one: list[str], other: list[str], more: dict[str, str]) -> None:
    request = discovery_pb2.DiscoveryRequest(resource_names=one, **more)
    request.error_detail.message = "no"
    written = request.SerializeToString()
    alike = encoded_names(request) == encoded_names(discovery_pb2.DiscoveryRequest(resource_names=other))
    assert alike == (one == other)
    assert request.SerializeToString() == written, "who asks keeps what it asked"


@pytest.mark.parametrize("names", [["a"], ["a", "b"], NAMES])
def test_what_is_present_is_what_there_is(names: list[str]) -> None:
    group = Group("")
    group.publish(Snapshot.of([Resource.encode(CLUSTER, name, b"") for name in names]))
    assert group.present(CLUSTER, {*names}) == tuple(names)
    assert group.present(CLUSTER, {*names[1:], "missing"}) == tuple(names[1:])
    assert group.is_all(CLUSTER, group.present(CLUSTER, {*names})) == (len(names) > 1)
    assert not group.is_all(CLUSTER, group.present(CLUSTER, {*names[1:], "missing"}))
