"""The rules of whole messages, on Envoy's own: what must be set, lists, maps, oneofs, packed messages."""

import subprocess
import sys
import timeit

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2, extension_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.compressor.v3 import compressor_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy_messages import HTTP_OPTIONS, TLS, TYPE, cluster, forward, host, http_cluster, match, target, tls
from google.protobuf import any_pb2, struct_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from xds_server.xds.any_types import message_class
from xds_server.xds.rule_options import can_be_wrong
from xds_server.xds.validation import Violation, check, message_rules


def test_a_good_message_has_no_violations() -> None:
    assert check(cluster(connect_timeout="1s")) == []


def test_every_violation_is_reported_with_its_path() -> None:
    message = cluster(
        name="",
        connect_timeout="0s",
        circuit_breakers={"thresholds": [{}, {"retry_budget": {"budget_percent": {"value": 101}}}]},
    )
    assert sorted(check(message)) == [
        ("circuit_breakers.thresholds[1].retry_budget.budget_percent.value", "must be at most 100.0, is 101.0"),
        ("connect_timeout", "must be greater than 0s, is 0s"),
        ("name", "must not be empty"),
    ]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (target(load_balancing_weight=0), ("load_balancing_weight", "must be at least 1, is 0")),
        (target(endpoint={"address": {"pipe": {}}}), ("path", "must not be empty")),
        (match(), ("path_specifier", "one of prefix, path, ")),
        (
            match(path_separated_prefix="a?"),
            ("path_separated_prefix", "must match the pattern ^[^?#]+[^?#/]$, is 'a?'"),
        ),
        (match(prefix="/", headers=[{"name": "a\nb"}]), ("name", "must not contain NUL, CR or LF")),
        (host(routes=[{"direct_response": {"status": 200}}]), ("match", "must be set")),
        (host(domains=[]), ("domains", "must have at least 1 items, has 0")),
        (forward(cluster_not_found_response_code=99), ("cluster_not_found_response_code", "must be one of ")),
        (host(request_headers_to_remove=["a", "\n"]), ("virtual_hosts[0].request_headers_to_remove[1]", "must ")),
        (cluster(connect_timeout="-1.5s"), ("connect_timeout", "must be from 0s to 9223372035s, is -1.5s")),
        (forward(timeout="-0.000000001s"), ("timeout", "must be from 0s to 9223372035s, is -0.000000001s")),
        (cluster(metadata={"filter_metadata": {"": {}}}), ("['']", "the key must not be empty")),
        (lua_pb2.LuaPerRoute(disabled=False), ("disabled", "must be true, is false")),
    ],
    ids=lambda value: None if isinstance(value, Message) else value[0],
)
def test_says_what_is_wrong_in_plain_words(message: Message, expected: tuple[str, str]) -> None:
    [violation] = check(message)
    assert violation.path.endswith(expected[0])
    assert violation.message.startswith(expected[1])


def test_a_list_says_which_item_is_there_twice() -> None:
    message = compressor_pb2.Compressor.ResponseDirectionConfig(uncompressible_response_codes=[200, 404, 200])
    assert check(message) == [
        Violation("uncompressible_response_codes[2]", "is there twice: every item must be different")
    ]


def test_required_means_nothing_for_a_member_of_a_oneof_that_is_not_set() -> None:
    assert check(match(prefix="/")) == []  # safe_regex beside it is `required`


def test_unset_messages_are_only_looked_at_when_required() -> None:
    assert check(cluster_pb2.Cluster(name="a")) == []
    assert [violation.path for violation in check(extension_pb2.TypedExtensionConfig(name="a"))] == ["typed_config"]


def test_skipped_messages_are_not_entered() -> None:
    """`KeyValueAppend.entry` is the one field of Envoy's protos that skips its message, whose key is required."""
    assert check(base_pb2.KeyValue()) == [Violation("key", "must not be empty")]
    message = base_pb2.KeyValueAppend()
    message.entry.SetInParent()
    assert check(message) == []


def test_packed_messages_are_opened() -> None:
    path = f"typed_extension_protocol_options['{HTTP_OPTIONS}'].upstream_protocol_options"
    assert [violation.path for violation in check(http_cluster())] == [path]


def test_a_packed_message_that_cannot_be_read_is_wrong() -> None:
    message = tls()
    message.transport_socket.typed_config.value = b"\xff"
    assert check(message) == [Violation("transport_socket.typed_config.value", f"is not an encoded {TLS}")]


@pytest.mark.parametrize(
    "type_url",
    [
        f"{TYPE}envoy.extensions.of_tomorrow.v9.Thing",
        f"{TYPE}envoy.extensions.transport_sockets.tls.v3.OfTomorrow",
        f"{TYPE}acme.Private",
        f"{TYPE}subprocess.Popen",
        f"{TYPE}envoy.config..v3.Thing",
        "envoy.config.cluster.v3.Cluster",
        "/",
        "",
    ],
)
def test_packed_messages_of_unknown_types_pass(type_url: str) -> None:
    message = tls()
    message.transport_socket.typed_config.CopyFrom(any_pb2.Any(type_url=type_url, value=b"\xff"))
    assert message_class(type_url) is None
    assert check(message) == []


def test_unknown_fields_pass() -> None:
    message = cluster_pb2.Cluster.FromString(cluster().SerializeToString() + b"\xfa\xff\x01\x01a")
    assert message.ByteSize() > cluster().ByteSize()
    assert check(message) == []


def test_the_protos_of_a_packed_message_are_imported_when_it_is_met() -> None:
    program = (
        "import sys; from xds_server.xds.any_types import message_class\n"
        "assert not any(name.startswith('envoy.extensions.transport_sockets.tls') for name in sys.modules)\n"
        f"print(message_class('{TYPE}{TLS}.Unknown'), message_class('{TYPE}{TLS}').DESCRIPTOR.full_name)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"None {TLS}\n", "")


def test_types_without_a_rule_in_reach_are_told_even_in_circles() -> None:
    assert not can_be_wrong(struct_pb2.Struct.DESCRIPTOR)  # Struct, Value and ListValue hold each other
    assert can_be_wrong(route_pb2.RouteConfiguration.DESCRIPTOR)


MAIN_TYPES = (
    cluster_pb2.Cluster,
    endpoint_pb2.ClusterLoadAssignment,
    listener_pb2.Listener,
    route_pb2.RouteConfiguration,
    secret_pb2.Secret,
)


@pytest.mark.parametrize("kind", MAIN_TYPES, ids=lambda kind: kind.DESCRIPTOR.name)
def test_every_rule_that_a_resource_can_meet_is_known(kind: type[Message]) -> None:
    types = reachable(kind.DESCRIPTOR)
    assert len(types) > 5
    for descriptor in types:
        message_rules(descriptor).compile()  # raises UnsupportedRuleError for a rule that would go unchecked


def reachable(descriptor: Descriptor) -> set[Descriptor]:
    found, waiting = {descriptor}, [descriptor]
    while waiting:
        below = {field.message_type for field in waiting.pop().fields if field.message_type is not None}
        waiting += below - found
        found |= below
    return found


def test_checking_is_cheap() -> None:
    """A bound ten times what was measured (13 ms), so that it fails for a wrong algorithm and not for a busy machine."""
    message = endpoint_pb2.ClusterLoadAssignment(cluster_name="a")
    message.endpoints.add().lb_endpoints.extend(
        target(load_balancing_weight=1).endpoints[0].lb_endpoints[0] for _ in range(2000)
    )
    assert check(message) == []
    assert min(timeit.repeat(lambda: check(message), number=1, repeat=5)) < 0.13
