"""What Prometheus is told: bounded labels, and numbers that are right."""

import re
from collections.abc import Callable

import pytest
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from joined import JoinedFleet
from prometheus_client.parser import text_string_to_metric_families
from scripted_client import cluster, endpoints, web

from xds_server.fleet import CatalogueFigures, Part, Progress
from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, Resource, Snapshot

Labels = frozenset[tuple[str, str]]


@pytest.fixture
def fleet() -> JoinedFleet:
    return JoinedFleet(*web("a", "b"))


def samples(fleet: JoinedFleet) -> dict[str, dict[Labels, float]]:
    text, content_type = fleet.fleet.metrics.render()
    assert content_type.startswith("text/plain")
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def value(fleet: JoinedFleet, name: str, **labels: str) -> float | None:
    return samples(fleet).get(name, {}).get(frozenset(labels.items()))


def test_the_first_rejection_of_any_type_that_is_served_is_an_increase(fleet: JoinedFleet) -> None:
    shown = samples(fleet)["xds_server_responses_rejected_total"]
    assert {dict(labels)["type"]: count for labels, count in shown.items()} == dict.fromkeys(
        (
            "Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration", "ScopedRouteConfiguration", "Secret",
            "Runtime", "TypedExtensionConfig",
        ),
        0,
    )  # fmt: skip


def test_responses_and_answers_are_counted_by_type(fleet: JoinedFleet) -> None:
    here = fleet.join()
    (clusters,) = here.want(CLUSTER)
    (assigned,) = here.want(ENDPOINTS, "a")
    fleet.now += 0.03
    here.accept(clusters)
    here.reject(assigned)
    assert value(fleet, "xds_server_responses_sent_total", type="Cluster") == 1
    assert value(fleet, "xds_server_responses_acknowledged_total", type="Cluster") == 1
    assert value(fleet, "xds_server_responses_rejected_total", type="Cluster") == 0
    assert value(fleet, "xds_server_responses_rejected_total", type="ClusterLoadAssignment") == 1
    assert value(fleet, "xds_server_sent_bytes_total", type="Cluster") == len(clusters.SerializeToString())
    assert value(fleet, "xds_server_acknowledgement_seconds_count", type="Cluster") == 1
    assert value(fleet, "xds_server_acknowledgement_seconds_bucket", type="Cluster", le="0.05") == 1
    assert value(fleet, "xds_server_acknowledgement_seconds_bucket", type="Cluster", le="0.025") == 0
    assert value(fleet, "xds_server_acknowledgement_seconds_count", type="ClusterLoadAssignment") == 0


def test_who_is_connected_and_how_well_they_are_served(fleet: JoinedFleet) -> None:
    first, second = fleet.join("1"), fleet.join("2", delta=False)
    first.accept(*first.want(CLUSTER))
    second.want(CLUSTER)
    for name in ("a", "b"):
        fleet.join("3", type_url=ENDPOINTS).want(ENDPOINTS, name)
    assert samples(fleet)["xds_server_nodes"] == {
        frozenset({("variant", "aggregated-delta")}): 1,
        frozenset({("variant", "aggregated-sotw")}): 1,
        frozenset({("variant", "per-type-delta")}): 1,
    }
    assert value(fleet, "xds_server_streams", variant="per-type-delta") == 2
    assert samples(fleet)["xds_server_node_types"] == {
        frozenset({("type", "Cluster"), ("status", "SYNCED")}): 1,
        frozenset({("type", "Cluster"), ("status", "STALE")}): 1,
        frozenset({("type", "ClusterLoadAssignment"), ("status", "STALE")}): 1,
    }
    first.leave()
    assert value(fleet, "xds_server_nodes", variant="aggregated-delta") is None


def one_acknowledges(fleet: JoinedFleet) -> None:
    here, other = fleet.join("1"), fleet.join("2")
    for client in (here, other):
        client.accept(*client.want(CLUSTER))
    fleet.publish(cluster("a", 9))
    here.accept(*here.sent())
    fleet.now += 2
    other.leave()


def one_rejects(fleet: JoinedFleet) -> None:
    here, other = fleet.join("1"), fleet.join("2")
    for client in (here, other):
        client.accept(*client.want(CLUSTER))
    fleet.publish(cluster("a", 9))
    here.reject(*here.sent())
    fleet.now += 2
    other.accept(*other.sent())


def all_leave(fleet: JoinedFleet) -> None:
    here = fleet.join("1")
    here.accept(*here.want(CLUSTER))
    fleet.publish(cluster("a", 9))
    fleet.now += 2
    here.leave()


@pytest.mark.parametrize(
    ("story", "outcome"), [(one_acknowledges, "acknowledged"), (one_rejects, "rejected"), (all_leave, "left")]
)
def test_convergence_is_from_the_commit_to_the_last_answer(
    fleet: JoinedFleet, story: Callable[[JoinedFleet], None], outcome: str
) -> None:
    story(fleet)
    assert samples(fleet)["xds_server_convergence_seconds_sum"] == {frozenset({("outcome", outcome)}): 2}
    assert value(fleet, "xds_server_convergence_seconds_count", outcome=outcome) == 1


def test_a_revision_converges_once_and_not_before_all_have_answered(fleet: JoinedFleet) -> None:
    here = fleet.join()
    here.accept(*here.want(ENDPOINTS, "a"))
    fleet.publish(endpoints("unheard-of"))
    fleet.publish(endpoints("a", 5), committed_at=fleet.now - 1)
    answers = here.sent()
    assert "xds_server_convergence_seconds_sum" not in samples(fleet), "one concerns nobody, one is not answered"
    here.accept(*answers)
    here.leave()
    assert value(fleet, "xds_server_convergence_seconds_count", outcome="acknowledged") == 1
    assert value(fleet, "xds_server_convergence_seconds_sum", outcome="acknowledged") == 1


def test_a_revision_that_a_worker_was_told_of_only_with_the_next_one_converges_too(fleet: JoinedFleet) -> None:
    quick, slow = Part("worker 1"), Part("worker 2")
    fleet.fleet.workers.take({"1": quick, "2": slow})
    first, second = (fleet.publish(endpoints("a", port), committed_at=fleet.now) for port in (5, 6))

    def tell(part: Part, revision: int, *, acknowledged: int) -> None:
        seconds = 3.0 if acknowledged else None
        pending = {} if acknowledged else {"n": ("ClusterLoadAssignment",)}
        part.take((), [Progress(revision, True, 1, acknowledged, 0, 0, pending, 0, (), seconds)])
        part.delivered = revision
        fleet.fleet.workers_told((), [revision])

    for revision in (first, second):
        tell(quick, revision, acknowledged=1)
    tell(slow, second, acknowledged=0)
    assert "xds_server_convergence_seconds_count" not in samples(fleet)
    tell(slow, second, acknowledged=1)
    assert value(fleet, "xds_server_convergence_seconds_count", outcome="acknowledged") == 2


def test_the_catalogue_is_shown_once_it_is_known(fleet: JoinedFleet) -> None:
    assert "xds_server_revision" not in samples(fleet)
    fleet.fleet.metrics.catalogue(
        CatalogueFigures(revision=7, upstreams=3, targets=9, gateways=1, is_writable=True, held_revisions=2)
    )
    names = ("revision", "upstreams", "targets", "gateways", "catalogue_writable", "held_revisions")
    assert [value(fleet, f"xds_server_{name}") for name in names] == [7, 3, 9, 1, 1, 2]


def test_every_name_is_ours_and_no_label_is_a_clients_word(fleet: JoinedFleet) -> None:
    odd = VirtualHost(name="odd", domains=["*"])
    fleet.server.set_snapshot(Snapshot.of([*web("secret-upstream"), Resource.of(odd)]))
    here = fleet.join("secret-node", agent="secret-agent 1")
    here.accept(*here.want(CLUSTER), *here.want(LISTENER))
    here.stream.receive(here.stream.request(type_url=Resource.of(odd).type_url, resource_names_subscribe=["odd"]))
    while here.stream.respond(here.now) is not None:
        pass
    revision = fleet.publish(cluster("secret-upstream", 9))
    here.reject(*here.sent())
    assert fleet.fleet.progress(revision).rejections == 1
    text = fleet.fleet.metrics.render()[0].decode()
    assert "secret" not in text
    assert "odd" not in text
    assert "VirtualHost" not in text
    found = samples(fleet)
    assert value(fleet, "xds_server_responses_sent_total", type="other") == 1
    assert all(re.fullmatch(r"xds_server_[a-z_]+", name) for name in found), found.keys()
    labels = {label for values in found.values() for labels in values for label, _ in labels}
    assert labels == {"type", "variant", "status", "outcome", "le"}
    assert "xds_server_process_cpu_seconds_total" in found, "the process, too"


def test_two_fleets_of_one_process_do_not_mix(fleet: JoinedFleet) -> None:
    fleet.join().want(CLUSTER)
    assert value(JoinedFleet(), "xds_server_responses_sent_total", type="Cluster") == 0
    assert value(fleet, "xds_server_responses_sent_total", type="Cluster") == 1


def test_openmetrics_is_given_to_who_asks_for_it(fleet: JoinedFleet) -> None:
    text, content_type = fleet.fleet.metrics.render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
