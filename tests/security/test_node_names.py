"""Which node a certificate is for."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.security.node_names import NodeRule, check, matches, node_rule
from xds_server.settings import Settings
from xds_server.xds import Node


def node(id: str, cluster: str = "edge", **more: Any) -> Node:
    return Node(id=id, cluster=cluster, **more)


@pytest.mark.parametrize(
    ("id", "names"),
    [
        ("edge-1", ["edge-1"]),
        ("edge-1", ["localhost", "edge-1"]),
        ("edge-1.web.example", ["edge-1.web.example"]),
        ("edge-1", ["spiffe://a.example/edge-1"]),
        ("edge-1", ["spiffe://a.example/ns/web/sa/edge-1"]),
        ("spiffe://a.example/edge-1", ["spiffe://a.example/edge-1"]),
    ],
)
def test_by_default_a_name_is_the_id_or_a_spiffe_id_that_ends_with_it(id: str, names: list[str]) -> None:
    assert NodeRule()(node(id), tuple(names)) is None


@pytest.mark.parametrize(
    ("id", "names"),
    [
        ("edge-2", ["edge-1"]),
        ("edge", ["edge-1"]),
        ("edge-11", ["edge-1"]),
        ("edge-1", []),
        ("edge-1", ["*"]),
        ("edge-1", ["*.example"]),
        ("edge-1", ["EDGE-1"]),
        ("e.ge-1", ["edge-1"]),
        (".+", ["edge-1"]),
        ("1", ["spiffe://a.example/edge-1"]),
        ("web/edge-1", ["spiffe://a.example/web/edge-1"]),
        ("a.example", ["spiffe://a.example"]),
        ("edge-1", ["https://a.example/edge-1"]),
        ("edge-1", ["edge-1\n"]),
        ("edge", ["web"]),
    ],
)
def test_any_other_id_is_refused(id: str, names: list[str]) -> None:
    said = NodeRule()(node(id), tuple(names))
    assert said is not None
    assert repr(id) in said
    for name in names:
        assert repr(name) in said


def test_the_refusal_names_both_sides_and_the_option() -> None:
    assert NodeRule()(node("edge-2"), ("edge-1", "spiffe://a/b")) == (
        "this client says that it is node 'edge-2' of cluster 'edge', and its certificate is for 'edge-1', 'spiffe://a/b': "
        "one of its names must be {id} or spiffe://{any}/{id} (--node-names)"
    )
    assert NodeRule()(node("edge-2"), None) == (
        "this client says that it is node 'edge-2' of cluster 'edge', and shows no certificate"
    )
    long = NodeRule()(node("x" * 100_000), tuple(f"n{n}" for n in range(1000)))
    assert long is not None
    assert len(long) < 1000


@pytest.mark.parametrize(
    ("pattern", "id", "cluster", "name"),
    [
        ("spiffe://a.example/{cluster}/{id}", "e1", "edge", "spiffe://a.example/edge/e1"),
        ("{id}.{cluster}.example", "e1", "edge", "e1.edge.example"),
        ("{cluster}.nodes", "anything", "edge", "edge.nodes"),
        ("envoy-{id}", "e-1", "edge", "envoy-e-1"),
        ("{id}.example", "a.b", "edge", "a.b.example"),
        ("{any}/{id}", "e1", "edge", "a/b/e1"),
    ],
)
def test_patterns(pattern: str, id: str, cluster: str, name: str) -> None:
    rule = NodeRule([pattern])
    assert rule(node(id, cluster), (name,)) is None
    assert rule(node(f"{id}x", f"{cluster}x"), (name,)) is not None
    if "{cluster}" in pattern:
        assert rule(node(id, "other"), (name,)) is not None


def test_no_name_is_for_two_nodes() -> None:
    rule = NodeRule(["spiffe://x/{cluster}/{id}"])
    name = "spiffe://x/a/b/c"
    assert rule(node("b/c", "a"), (name,)) is not None
    assert rule(node("c", "a/b"), (name,)) is not None
    assert NodeRule(["{cluster}"])(node("n", ""), ("",)) is not None, "no cluster is no name"


PARTS = st.text("ab/-.", min_size=1, max_size=4)


@given(st.sampled_from(["x{cluster}/{id}", "{id}/n/{cluster}.y", "{cluster}-{any}.{id}"]), PARTS, PARTS, PARTS, PARTS)
def test_two_nodes_never_share_a_name(pattern: str, id: str, cluster: str, other: str, another: str) -> None:
    one, two = node(id, cluster), node(other, another)
    name = pattern.replace("{id}", id).replace("{cluster}", cluster).replace("{any}", "-a.")
    if matches(pattern, one, name) and (id, cluster) != (other, another):
        assert not matches(pattern, two, name)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("edge-1", "holds neither {id} nor {cluster}"),
        ("", "holds neither"),
        ("{any}", "holds neither"),
        ("{node}", "there is no {node}, only {id}, {cluster}, {any}"),
        ("{id}{cluster}", "something must stand between"),
        ("{id}-{id}", "twice"),
    ],
)
def test_what_is_no_pattern(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("{", r"\{")):
        check(pattern)


def test_which_rule_a_server_has() -> None:
    files = {name: Path("x") for name in ("tls_cert", "tls_key", "tls_client_ca")}
    outside = "0.0.0.0:1"
    assert isinstance(node_rule(Settings(**files), outside), NodeRule)  # type: ignore[arg-type]
    assert isinstance(node_rule(Settings(**files, insecure=True), outside), NodeRule)  # type: ignore[arg-type]
    assert node_rule(Settings(), "127.0.0.1:1") is None
    assert node_rule(Settings(insecure=True), outside) is None
    # TLS and tokens: other machines may reach the HTTP port, and those who poll there show neither.
    rule = node_rule(Settings(), outside)
    assert rule is not None
    assert "polling needs --tls-client-ca" in (rule(node("a", service="rest"), None) or "")
    assert rule(node("a"), None) is None
