"""Definitions and changes of them in a line each, and what a snapshot has of them: for tests of the delivery."""

from collections.abc import Iterable
from typing import Any

from xds_server.catalog.changes import Change
from xds_server.upstreams.model import Gateway, Placed, Upstream
from xds_server.xds import Snapshot


def change(
    *upstreams: dict[str, Any], gateways: tuple[dict[str, Any], ...] = (), remove: tuple[str, ...] = ()
) -> Change:
    return Change(
        {fields["name"]: Placed("file.yaml", 1, Upstream.model_validate(fields)) for fields in upstreams},
        frozenset(remove),
        {fields["name"]: Placed("file.yaml", 9, Gateway.model_validate(fields)) for fields in gateways},
    )


def upstream(name: str, *hosts: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "targets": [{"host": host, "port": 80} for host in hosts], **fields}


def names(snapshot: Snapshot | None, type_url: str) -> list[str]:
    assert snapshot is not None
    return sorted(snapshot.names(type_url))


def complaints(logs: Iterable[Any]) -> list[Any]:
    """What was logged as a warning or worse."""
    return [log for log in logs if log["log_level"] in ("warning", "error")]
