"""Definitions that are written as JSON and read again are what they were."""

from told import problems

from xds_server.upstreams.model import Document, Upstream


def test_what_is_written_back_is_what_was_read() -> None:
    fields = {
        "targets": [{"host": "::1", "port": 1, "weight": 0}],
        "timeout": "1.5s",
        "envoy": {"lb_subset_config": {"list": [1, 2.5, None, True, {"a": "b"}]}},
    }
    made = Upstream.model_validate({"name": "a", **fields})
    assert Upstream.model_validate_json(made.model_dump_json()) == made
    assert Document.model_validate_json(Document(upstreams=(made,)).model_dump_json()).upstreams == (made,)


def test_a_typed_message_survives_being_written_as_json() -> None:
    class Cluster:
        __module__ = "envoy.config.cluster.v3.cluster_pb2"

        def SerializeToString(self) -> bytes:
            return b"\x0a\x01a"

    made = Upstream.model_validate({"name": "a", "envoy": Cluster()})
    assert Upstream.model_validate_json(made.model_dump_json()) == made
    assert problems(envoy={"@bytes": "%"}) == [("envoy", "@bytes is not base64")]
