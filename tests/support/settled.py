"""Waiting for Envoy's worker: its admin interface shows what the main thread knows, a moment before the worker does."""

from xds_server.testing import request


def pass_through_worker(port: int) -> None:
    """Have the worker take what was handed to it before: requests that go nowhere take turns with it."""
    for _ in range(3):
        assert request(port, "nobody.invalid").status == 404
