"""What localities, bounded load and slow start refuse: what Envoy cannot do, and what it would ignore in silence."""

from typing import Any

import pytest
from told import problems

EU_A, EU_B = {"region": "eu", "zone": "eu-1a"}, {"region": "eu", "zone": "eu-1b"}


def target(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {"host": f"10.0.0.{number}", "port": 80, **fields}


def weighted(*weights: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"localities": {"balance": "weighted", "weights": weights}, "failover": "proportional", **fields}


NEAREST = {"localities": {"balance": "nearest"}}
ZONE_AWARE = {"localities": {"balance": "zone-aware"}}


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        ({"localities": {}}, "localities.balance", "required"),
        ({"localities": {"balance": "near"}}, "localities.balance", "did you mean 'nearest'?"),
        (weighted({**EU_A, "weight": 1}, failover="all-down"), "localities.balance", "need failover: proportional"),
        (weighted(EU_A), "localities.weights[0].weight", "required"),
        (
            weighted({**EU_A, "weight": 1}, targets=[target(locality=EU_A), target(2, locality=EU_B)]),
            "targets[1].locality",
            "locality {region: eu, zone: eu-1b} has no weight, and so no share: name it in localities.weights",
        ),
        (weighted(targets=[target()]), "targets[0].locality", "no locality in particular has no weight"),
        (weighted({**EU_A, "weight": 1}, {**EU_A, "weight": 2}), "localities.weights[1]", "has a weight already"),
        (weighted({**EU_A, "weight": -1}), "localities.weights[0].weight", "at least 0"),
        (
            {"localities": {"balance": "nearest", "weights": [{"weight": 1}]}},
            "localities.weights",
            "weights belong to balance: weighted",
        ),
        (
            {"localities": {"balance": "nearest", "min_cluster_size": 2}},
            "localities.min_cluster_size",
            "belongs to balance: zone-aware",
        ),
        ({**ZONE_AWARE, "algorithm": "maglev"}, "localities.balance", "no zone-aware routing for maglev"),
        ({**ZONE_AWARE, "algorithm": "ring-hash"}, "localities.balance", "no zone-aware routing for ring-hash"),
        ({**NEAREST, "resolve": "envoy"}, "resolve", "names are resolved by the control-plane"),
        (
            {**NEAREST, "targets": [target(), target(2, priority=7)]},
            "localities.balance",
            "nearest with several priorities needs failover: proportional",
        ),
        (
            {**NEAREST, "failover": "proportional", "targets": [target(n, priority=n) for n in range(44)]},
            "localities.balance",
            "there may be 43, not 44",
        ),
        ({"hash_balance_factor": 150}, "hash_balance_factor", "is for ring-hash and maglev, not round-robin"),
        ({"hash_balance_factor": 99, "algorithm": "maglev"}, "hash_balance_factor", "at least 100"),
        ({"slow_start": {"window": "1s", "aggression": 0}}, "slow_start.aggression", "must be at least 0.01, found 0"),
        ({"slow_start": {"window": "1s", "aggression": "1"}}, "slow_start.aggression", "expected a number, found '1'"),
        (
            {"slow_start": {"window": "1s", "aggression": True}},
            "slow_start.aggression",
            "expected a number, found true",
        ),
        ({"slow_start": {"window": "1s", "min_weight_percent": 101}}, "slow_start.min_weight_percent", "at most 100"),
        ({"slow_start": {"window": "1s"}, "algorithm": "maglev"}, "slow_start", "Envoy has no slow start for maglev"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], place: str, message: str) -> None:
    ((field, found),) = problems(**fields)
    assert field == place
    assert message in found


@pytest.mark.parametrize(
    "fields",
    [
        weighted({**EU_A, "weight": 0}, {"weight": 3}, targets=[target(), target(2, locality=EU_A)]),
        weighted({**EU_A, "weight": 1}, algorithm="maglev", resolve="envoy", targets=[]),
        {**ZONE_AWARE, "targets": [target(), target(2, priority=1)]},
        {"localities": {"balance": "zone-aware", "min_cluster_size": 1}, "algorithm": "random"},
        {**NEAREST, "targets": [target(priority=3), target(2, priority=3)], "algorithm": "ring-hash"},
        {**NEAREST, "failover": "proportional", "targets": [target(n, priority=n) for n in range(43)]},
        {"hash_balance_factor": 100, "algorithm": "ring-hash"},
        {"slow_start": {"window": "1s", "aggression": 1, "min_weight_percent": 0}},
    ],
)
def test_what_can_be_meant_is_taken(fields: dict[str, Any]) -> None:
    assert problems(**fields) == []


def test_each_locality_without_a_weight_is_told_once() -> None:
    targets = [target(n, locality=EU_B) for n in range(1, 4)]
    assert [field for field, _ in problems(**weighted({**EU_A, "weight": 1}, targets=targets))] == [
        "targets[0].locality"
    ]
