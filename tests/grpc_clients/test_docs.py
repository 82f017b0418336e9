"""What docs/grpc-clients.md tells users to write."""

import json
import re
from pathlib import Path
from typing import Any

from grpc_backends import GrpcBackend
from grpc_client import GrpcClient
from grpc_control_plane import Product, target

Backends = tuple[GrpcBackend, GrpcBackend, GrpcBackend]


def documented_bootstrap(root: Path) -> dict[str, Any]:
    text = (root / "docs" / "grpc-clients.md").read_text(encoding="utf-8")
    found = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def test_the_node_of_the_bootstrap_chooses_the_upstreams(
    control_plane: Product, backends: Backends, root: Path
) -> None:
    a, b, _ = backends
    bootstrap = documented_bootstrap(root)
    assert bootstrap["xds_servers"][0].keys() == {"server_uri", "channel_creds", "server_features"}
    mine = {"clusters": ["checkout"], "localities": [{"region": "eu", "zone": "eu-1a"}], "labels": {"env": "prod"}}
    control_plane.upstream("mine", target(a), nodes=mine)
    control_plane.upstream("theirs", target(b), nodes={"clusters": ["other"]})
    with GrpcClient(control_plane.xds_address, node=bootstrap["node"]) as app:
        assert app.send("mine", 3).backends == {"a": 3}
        assert app.send("theirs", 1, within=0.3).statuses == {"DEADLINE_EXCEEDED": 1}


def test_a_name_is_in_lower_case_and_without_a_port(
    control_plane: Product, app: GrpcClient, backends: Backends
) -> None:
    a, *_ = backends
    control_plane.upstream("spelled", target(a))
    assert app.send("spelled", 1).backends == {"a": 1}
    assert app.send("spelled:8080", 1, within=0.3).statuses == {"DEADLINE_EXCEEDED": 1}
    assert app.send("Spelled", 1, within=0.3).statuses == {"DEADLINE_EXCEEDED": 1}
