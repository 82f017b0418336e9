"""A dry run that a real Envoy loads, over gRPC."""

import grpc
import pytest
from management_grpc import Api, refused
from tokens import token

from xds_server.management.v1 import revisions_pb2
from xds_server.testing import XdsServerProcess

pytestmark = pytest.mark.envoy
MAGLEV = {"@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.maglev.v3.Maglev", "table_size": 100}
EXTENSION = {"typed_extension_config": {"name": "maglev", "typed_config": MAGLEV}}
ODD = {"load_balancing_policy": {"policies": [EXTENSION]}}


def test_what_envoy_takes_and_refuses(grpc_api: Api) -> None:
    preview = grpc_api.apply({"name": "sound"}, {"name": "odd", "envoy": ODD}, dry_run=True, with_envoy=True).preview
    assert preview.envoy.version.startswith("1.")
    assert preview.envoy.checked == 2
    (found,) = preview.envoy.refused
    assert (found.kind, found.name) == ("upstream", "odd")
    assert "prime" in found.detail
    assert not grpc_api.apply({"name": "sound"}, dry_run=True).preview.HasField("envoy")
    made = grpc_api.put("sound").revision
    difference = grpc_api.revisions.Diff(revisions_pb2.DiffRequest(revision=made, with_envoy=True), timeout=60)
    assert (difference.envoy.checked, [*difference.envoy.refused]) == (1, [])


def test_only_with_a_dry_run_and_the_role_write(server: XdsServerProcess, grpc_api: Api) -> None:
    wrong = refused(lambda: grpc_api.apply({"name": "a"}, with_envoy=True))
    assert (wrong.code, [*wrong.fields]) == ("INVALID_ARGUMENT", ["with_envoy"])
    reads = token(server, "create", "grpc-reads", "--role", "read")
    try:
        with Api(server.grpc_address, token=reads) as api:
            assert api.apply({"name": "a"}, dry_run=True).HasField("preview")
            for call in (
                lambda: api.apply({"name": "a"}, dry_run=True, with_envoy=True),
                lambda: api.revisions.Diff(revisions_pb2.DiffRequest(revision=1, with_envoy=True), timeout=60),
            ):
                assert refused(call).code == grpc.StatusCode.PERMISSION_DENIED.name
    finally:
        token(server, "revoke", "grpc-reads")
