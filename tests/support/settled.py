"""What Envoy has carried out, of what its admin interface shows or counts before."""

from typing import Any

from xds_server.testing import request
from xds_server.testing.admin import EnvoyAdmin


def pass_through_worker(port: int) -> None:
    """Have the worker take what the main thread handed to it before: requests that go nowhere take turns with it."""
    for _ in range(3):
        assert request(port, "nobody.invalid").status == 404


def active_cluster(envoy: EnvoyAdmin, name: str) -> dict[str, Any]:
    """A cluster as Envoy uses it, as proto JSON; empty when there is none. A changed one is counted when it comes, and used
    once it is warm."""
    active = (entry["cluster"] for entry in envoy.config_dump("dynamic_active_clusters").get("configs", []))
    return next((cluster for cluster in active if cluster["name"] == name), {})
