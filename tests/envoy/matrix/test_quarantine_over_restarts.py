"""What an Envoy refuses is kept back from it by a control plane that was restarted, too."""

from pathlib import Path
from typing import Any

import pytest
from column_rig import ColumnRig
from envoy_matrix import AGGREGATED, Column, columns
from rig import target

from xds_server.testing import Backends

pytestmark = [pytest.mark.envoy, columns(*AGGREGATED)]
TLS = {
    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    "common_tls_context": {"validation_context": {"trusted_ca": {"filename": "/nowhere/ca.pem"}}},
}
BAD = {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": TLS}}
"""What only Envoy can find to be wrong."""


def timeout_of(rig: ColumnRig, name: str) -> Any:
    active = (entry["cluster"] for entry in rig.envoy.config_dump("dynamic_active_clusters").get("configs", []))
    return next((cluster.get("connect_timeout") for cluster in active if cluster["name"] == name), None)


def rejections(rig: ColumnRig) -> int:
    return rig.envoy.stat("cluster_manager.cds.update_rejected")


def test_P22_S70_S42_the_version_before_comes_from_the_history(column: Column, tmp_path: Path) -> None:
    rig = ColumnRig(tmp_path, column)
    with Backends("a", "b") as (a, b):
        rig.upstream("app", target(a))
        rig.upstream("other", target(a))
        with rig:
            rig.forwards("app")
            rig.upstream("app", target(a), envoy=BAD)
            rig.server.wait_for_event("xds.quarantined", 10)
            rig.upstream("app", target(b), envoy=BAD)  # another version with the same cluster
            rig.envoy.wait_for_endpoints("app", {b.address: "HEALTHY"})
            with rig.load("app") as load:
                load.wait_for(20)
                rig.server.kill()
                rig.server.restart()
                kept_back = rig.server.wait_for_event("xds.quarantined", 20)
                assert kept_back["resources"] == "app"
                refused = rejections(rig)
                rig.upstream("other", target(a), connect_timeout="7s")
                rig.envoy.wait_until(lambda: timeout_of(rig, "other") == "7s", 10, "a later change")
                rig.upstream("new", target(b))
                rig.forwards("new")
                assert rejections(rig) == refused, "it is not offered again"
                rig.upstream("app", target(b), connect_timeout="8s")
                rig.envoy.wait_until(lambda: timeout_of(rig, "app") == "8s", 10, "the mended one")
                load.wait_for(20)
            assert load.failures == 0, load.errors
            assert rejections(rig) == refused
