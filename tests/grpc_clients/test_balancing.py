"""Which target gets an RPC: shares that are counted at real gRPC servers."""

import math
from collections import Counter

import pytest
from grpc_backends import GrpcBackend
from grpc_client import GrpcClient
from grpc_control_plane import Product, target

Backends = tuple[GrpcBackend, GrpcBackend, GrpcBackend]
RPCS = 800


def assert_shares(counts: Counter[str], **weights: int) -> None:
    """Each backend's share is its weight's, as far as chance goes (5 standard deviations)."""
    total = counts.total()
    for name, weight in weights.items():
        share = weight / sum(weights.values())
        assert abs(counts[name] - total * share) <= 5 * math.sqrt(total * share * (1 - share)), (name, counts)


def test_R1_R2_R25_the_name_and_the_host_names_are_found(
    control_plane: Product, app: GrpcClient, backends: Backends
) -> None:
    a, *_ = backends
    control_plane.upstream("payments", target(a), hostnames=["payments.example", "*.payments.example"])
    assert app.send("payments", 5).backends == {"a": 5}
    assert app.send("payments.example", 5).backends == {"a": 5}
    assert control_plane.warnings("payments") == [
        "hostnames: gRPC clients ask for exact names: not served as *.payments.example"
    ]


def test_round_robin_shares_equally(control_plane: Product, app: GrpcClient, backends: Backends) -> None:
    control_plane.upstream("equal", *map(target, backends))
    app.reach("equal", *"abc")
    counts = app.send("equal", 300).backends
    assert counts == {"a": 100, "b": 100, "c": 100}


def test_R13_weights_are_shares(control_plane: Product, app: GrpcClient, backends: Backends) -> None:
    a, b, c = backends
    targets = (target(a, weight=6), target(b, weight=3), target(c, weight=1))
    control_plane.upstream("weighted", *targets, algorithm="weighted-round-robin")
    app.reach("weighted", *"abc")
    assert_shares(app.send("weighted", RPCS).backends, a=6, b=3, c=1)


def test_targets_of_one_weight_take_turns(control_plane: Product, app: GrpcClient, backends: Backends) -> None:
    a, b, c = backends
    targets = (target(a, weight=4), target(b, weight=3), target(c, weight=3))
    control_plane.upstream("turns", *targets, algorithm="weighted-round-robin")
    app.reach("turns", *"abc")
    counts = app.send("turns", RPCS).backends
    assert_shares(counts, a=4, b=3, c=3)
    assert abs(counts["b"] - counts["c"]) <= 1


def test_R13_weights_count_across_localities(control_plane: Product, app: GrpcClient, backends: Backends) -> None:
    a, b, c = backends
    targets = (
        target(a, weight=5, locality={"zone": "eu-1a"}),
        target(b, weight=1, locality={"zone": "eu-1a"}),
        target(c, weight=2, locality={"zone": "eu-1b"}),
    )
    control_plane.upstream("zones", *targets, algorithm="weighted-round-robin")
    app.reach("zones", *"abc")
    assert_shares(app.send("zones", RPCS).backends, a=5, b=1, c=2)


@pytest.mark.feature("Localities and failover", "gRPC clients: localities share RPCs by their weights")
@pytest.mark.parametrize("algorithm", ["round-robin", "ring-hash"])
def test_localities_share_by_weight(
    control_plane: Product, app: GrpcClient, backends: Backends, algorithm: str
) -> None:
    a, b, c = backends
    near, far = {"region": "eu", "zone": "eu-1a"}, {"region": "eu", "zone": "eu-1b"}
    weights = {"balance": "weighted", "weights": [{**near, "weight": 6}, {**far, "weight": 2}]}
    targets = (target(a, locality=near), target(b, locality=far), target(c, locality=far))
    # Chance decides where an RPC goes for which nothing is there to hash.
    fields = {"algorithm": algorithm, "hash_on": [{"header": "x-absent"}], "failover": "proportional"}
    control_plane.upstream(f"shares-of-zones-{algorithm}", *targets, localities=weights, **fields)
    app.reach(f"shares-of-zones-{algorithm}", *"abc")
    counts = app.send(f"shares-of-zones-{algorithm}", RPCS).backends
    if algorithm == "round-robin":
        assert_shares(counts, a=6, b=1, c=1)
    else:
        assert counts["a"] / RPCS == pytest.approx(0.75, abs=0.12)  # the ring's places are chosen by chance as well


@pytest.mark.feature("Localities and failover", "gRPC clients: nearest first by the locality of the client's node")
@pytest.mark.parametrize("algorithm", ["round-robin", "ring-hash"])
def test_the_nearest_come_first(control_plane: Product, backends: Backends, algorithm: str) -> None:
    a, b, _ = backends
    places = [{"region": "eu", "zone": "eu-1a"}, {"region": "eu", "zone": "eu-1b"}, {"region": "us"}]
    targets = [target(backend, locality=place) for backend, place in zip(backends, places, strict=True)]
    name = f"nearest-{algorithm}"
    control_plane.upstream(name, *targets, localities={"balance": "nearest"}, algorithm=algorithm)
    node = {"id": "app", "cluster": "tests"}
    with (
        GrpcClient(control_plane.xds_address, node={**node, "locality": places[0]}) as in_a,
        GrpcClient(control_plane.xds_address, node={**node, "locality": places[1]}) as in_b,
    ):
        assert in_a.send(name, 10).backends == {"a": 10}
        assert in_b.send(name, 10).backends == {"b": 10}
        a.stop()
        in_a.reach(name, "b")
        assert in_a.send(name, 10).backends == {"b": 10}
        b.stop()
        in_a.reach(name, "c")
        assert in_a.send(name, 10).backends == {"c": 10}


@pytest.mark.parametrize(
    ("algorithm", "weights", "warning"),
    [
        ("least-connections", (1, 1, 6), "gRPC has no least-connections: served as round-robin (by weight)"),
        ("random", (1, 1, 1), "gRPC has no random: served as round-robin"),
    ],
    ids=["least-connections", "random"],
)
def test_R20_an_algorithm_that_grpc_lacks_is_served_as_another_with_a_warning(
    control_plane: Product,
    app: GrpcClient,
    backends: Backends,
    algorithm: str,
    weights: tuple[int, ...],
    warning: str,
) -> None:
    targets = [target(backend, weight=weight) for backend, weight in zip(backends, weights, strict=True)]
    control_plane.upstream(algorithm, *targets, algorithm=algorithm)
    app.reach(algorithm, *"abc")
    assert_shares(app.send(algorithm, RPCS).backends, **dict(zip("abc", weights, strict=True)))
    assert control_plane.warnings(algorithm) == [f"algorithm: {warning}"]


@pytest.mark.parametrize("algorithm", ["ring-hash", "maglev"])
def test_a_header_chooses_the_target(
    control_plane: Product, app: GrpcClient, backends: Backends, algorithm: str
) -> None:
    a, b, c = backends
    name = f"by-header-{algorithm}"
    targets = (target(a), target(b), target(c, weight=10))
    control_plane.upstream(name, *targets, algorithm=algorithm, hash_on=[{"header": "x-user"}])
    users: Counter[str] = Counter()
    for user in range(200):
        (backend,) = app.send(name, 2, x_user=str(user)).backends
        users[backend] += 1
    assert users["c"] > users["a"] + users["b"], "weights are shares of the ring"
    assert len(users) == 3
    assert set(app.send(name, 300).backends) == {"a", "b", "c"}, "without the header it is chance"
    if algorithm == "maglev":
        assert control_plane.warnings(name) == ["algorithm: gRPC has no maglev: served as ring-hash"]


def test_later_keys_are_used_when_those_before_are_absent(
    control_plane: Product, app: GrpcClient, backends: Backends
) -> None:
    control_plane.upstream(
        "fallbacks",
        *map(target, backends),
        algorithm="ring-hash",
        hash_on=[{"cookie": "session"}, {"header": "x-user"}, {"source_ip": True}],
    )
    (home,) = app.send("fallbacks", 20).backends
    elsewhere = {backend for user in range(60) for backend in app.send("fallbacks", 2, x_user=f"user-{user}").backends}
    assert elsewhere == {"a", "b", "c"}
    assert app.send("fallbacks", 20).backends == {home: 20}, "without the header the channel decides"
    cookie, channel = control_plane.warnings("fallbacks")
    assert cookie == "hash_on[0]: gRPC does not hash cookies: left out"
    assert channel.startswith("hash_on[2].source_ip: ")


@pytest.mark.parametrize("hash_on", [[], [{"path": True}]], ids=["default", "path"])
def test_what_is_the_same_for_all_rpcs_keeps_them_together(
    control_plane: Product, app: GrpcClient, backends: Backends, hash_on: list[dict[str, bool]]
) -> None:
    name = f"together-{len(hash_on)}"
    control_plane.upstream(name, *map(target, backends), algorithm="ring-hash", hash_on=hash_on)
    assert len(app.send(name, 60).backends) == 1


def test_a_client_that_resolves_the_name_itself(control_plane: Product, app: GrpcClient, backends: Backends) -> None:
    a, *_ = backends
    control_plane.upstream("resolved-there", {"host": "localhost", "port": a.port}, resolve="envoy")
    assert app.send("resolved-there", 3).backends == {"a": 3}
    control_plane.upstream("resolved-there", {"host": "localhost", "port": a.port, "weight": 0}, resolve="envoy")
    app.load("resolved-there")
    app.load_until(lambda backends: not backends, "without targets")
    control_plane.upstream("resolved-there", {"host": "localhost", "port": a.port}, resolve="envoy")
    app.load_until(lambda backends: backends["a"] >= 40, "back")
    app.end_load()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"tls": {"sni": "a.example"}, "protocol": "http2"}, "tls: "),
        ({"protocol": "tcp"}, "protocol: "),
    ],
    ids=["tls", "tcp"],
)
def test_R20_what_grpc_clients_cannot_use_they_are_not_given(
    control_plane: Product, app: GrpcClient, backends: Backends, fields: dict[str, object], problem: str
) -> None:
    a, *_ = backends
    name = f"without-{'tls' if 'tls' in fields else 'tcp'}"
    control_plane.upstream(name, target(a), **fields)
    assert app.send(name, 1, within=0.3).statuses == {"DEADLINE_EXCEEDED": 1}
    assert control_plane.warnings(name)[0].startswith(problem)
    assert a.calls == 0
