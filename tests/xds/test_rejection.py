"""NACKs: which resources the client's words name, and what is told and kept of a rejection."""

import pytest
from joined import measured
from scripted_client import Client, cluster

from xds_server.xds import CLUSTER, Event, Snapshot
from xds_server.xds.clients import Clients
from xds_server.xds.quarantine import Quarantine
from xds_server.xds.rejection import likely_culprits


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Error adding/updating cluster(s) payments: envoy.x: unknown", ["payments"]),
        ("Error adding/updating cluster(s) web-2: no such\nweb: neither", ["web", "web-2"]),
        ("Error adding/updating listener(s) public: cannot bind '0.0.0.0:80'", ["public"]),
        ("duplicate cluster a found", []),
        ("duplicate name 'a' found in the union", ["a"]),
        ("xDS response validation errors: [resource index 0: web-2: INVALID_ARGUMENT: x]", ["web-2"]),
        ("the payments of web", []),
        ("Unexpected EDS cluster (expecting web-2) got web-2.internal", ["web-2", "web-2.internal"]),
        ("not web-22, nor my-web-2, nor web-2/x", []),
        ("cannot connect to web:80", []),
        ("", []),
    ],
)
def test_R29_what_the_words_name(message: str, expected: list[str]) -> None:
    names = ("a", "payments", "public", "web", "web-2", "web-2.internal")
    assert list(likely_culprits(message, names)) == expected


def test_a_long_message_and_many_names_are_no_work() -> None:
    names = tuple(f"cluster-{i}" for i in range(10_000))
    assert likely_culprits("cluster-77: wrong " + "x" * 1_000_000, names) == ("cluster-77",)


def test_S20_D30_a_rejection_is_told_with_all_that_is_known(either: Client) -> None:
    either.publish(Snapshot.of([cluster("good"), cluster("bad-1")]))
    (answer,) = either.ask(CLUSTER)
    either.ask(CLUSTER, nonce=answer.nonce, version="", error="Error adding/updating cluster(s) bad-1: no good")
    (event,) = [event for event in either.events if event.kind == "rejected"]
    version = answer.system_version_info if either.delta else answer.version_info
    assert event.node is not None
    assert (event.node.id, event.type_url, event.version, event.nonce) == ("n", CLUSTER, version, answer.nonce)
    assert set(event.names) == {"good", "bad-1"}
    assert event.culprits == ("bad-1",)
    assert event.detail.endswith("no good")
    assert not event.applied


def test_S18_S19_an_error_beside_the_new_version_is_told_as_applied(sotw: Client) -> None:
    sotw.publish(Snapshot.of([cluster("a"), cluster("b")]))
    (answer,) = sotw.ask(CLUSTER)
    assert sotw.nack(answer, version=answer.version_info) == []
    (event,) = [event for event in sotw.events if event.kind == "rejected"]
    assert event.applied


def test_S23_the_status_of_each_client_is_kept_while_it_is_connected(either: Client) -> None:
    clients = Clients()
    either.stream._observe = clients
    either.publish(Snapshot.of([cluster("a")]))
    (first,) = either.ask(CLUSTER)
    (status,) = [client.types[CLUSTER] for client in clients.by_stream.values()]
    assert (status.sent != "", status.acknowledged, status.in_sync) == (True, "", False)
    either.ack(first)
    assert status.in_sync
    either.change(cluster("a", 2))
    (second,) = either.sent()
    either.ask(CLUSTER, nonce=second.nonce, error="'a' is wrong")
    assert not status.in_sync
    assert status.rejection is not None
    assert status.rejection.version == status.sent
    assert (status.rejection.detail, status.rejection.names, status.rejection.culprits) == (
        "'a' is wrong",
        ("a",),
        ("a",),
    )
    either.change(cluster("a", 3))
    either.ack(either.sent()[0])
    assert status.in_sync
    either.stream.close()
    assert clients.by_stream == {}


def test_events_before_a_node_is_known_are_no_client() -> None:
    clients = Clients()
    clients(Event("closed", 1, None))
    clients(Event("sent", 1, None, type_url=CLUSTER))
    assert clients.by_stream == {}


def test_what_is_refused_together_is_told_at_a_cost_that_grows_with_it_alone() -> None:
    quarantine = Quarantine()
    names = tuple(f"c{number:05}" for number in range(30_000))
    for name in names:
        quarantine.refuse(name, "no")
    told: list[object] = []
    assert measured(lambda: told.append(quarantine.news())) < 0.5, (
        "seconds; each name once, not each with all before it"
    )
    assert told == [((), {"no": names})]
