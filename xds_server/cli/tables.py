"""What the API says, as rows for people. Pure; what an older or newer server does not say is left empty."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from xds_server.cli.output import Table
from xds_server.upstreams.model.scalars import parse_instant

Data = Mapping[str, Any]
TYPES: Final = {
    **dict.fromkeys(("cluster", "clusters"), "CLUSTERS"),
    **dict.fromkeys(("clusterloadassignment", "endpoints"), "ENDPOINTS"),
    **dict.fromkeys(("listener", "listeners"), "LISTENERS"),
    **dict.fromkeys(("routeconfiguration", "route", "routes"), "ROUTES"),
    **dict.fromkeys(("secret", "secrets"), "SECRETS"),
}
"""Columns of nodes by the names of types, from left to right; other types follow."""


def upstreams(definitions: Iterable[Data], about: Data) -> Table:
    """Upstreams with what is known of them."""
    rows = []
    for one in definitions:
        known: Data = about.get(one["name"]) or {}
        count = len(known.get("overrides") or ())
        rows.append(
            (
                one["name"],
                str(one.get("algorithm", "round-robin")),
                str(len(one.get("targets") or ())),
                f"{count} of {len(one.get('targets') or ())}" if count else "",
                _labels(one.get("labels")),
                _origin(known),
                text(known.get("revision")),
            )
        )
    return Table(("NAME", "ALGORITHM", "TARGETS", "OVERRIDDEN", "LABELS", "ORIGIN", "REVISION"), rows)


def gateways(definitions: Iterable[Data], about: Data) -> Table:
    """Gateways with what is known of them."""
    rows = [
        (
            one["name"],
            f"{one.get('address', '0.0.0.0')}:{one.get('port', '')}",
            str(one.get("upstream", "by host name")),
            _origin(about.get(one["name"]) or {}),
            text((about.get(one["name"]) or {}).get("revision")),
        )
        for one in definitions
    ]
    return Table(("NAME", "ADDRESS", "UPSTREAM", "ORIGIN", "REVISION"), rows)


def targets(found: Iterable[Data], now: datetime) -> Table:
    """Targets as they are served."""
    rows = [
        (
            text(one.get("upstream")),
            one["target"],
            state(one, now),
            text(one.get("weight")),
            text(one.get("priority")),
            locality(one.get("locality")),
            "; ".join(notes(one, now)),
        )
        for one in found
    ]
    return Table(("UPSTREAM", "TARGET", "STATE", "WEIGHT", "PRIORITY", "LOCALITY", "NOTE"), rows)


def state(target: Data, now: datetime) -> str:
    """The state of a target by now: a drain whose deadline has passed is over."""
    until = target.get("drain_until")
    said = text(target.get("state"))
    return "disabled" if said == "draining" and until and parse_instant(until) <= now else said


def notes(target: Data, now: datetime) -> list[str]:
    """What else is to be said of a target: deadlines, and who laid something over its definition."""
    said = []
    if until := target.get("drain_until"):
        said.append(f"draining {'ended' if parse_instant(until) <= now else 'until'} {until}")
    override: Data = target.get("override") or {}
    if override:
        fields = " and ".join(name for name in ("state", "weight") if name in override)
        by = f" by revision {target['overridden_by']}" if target.get("overridden_by") else ""
        said.append(f"{fields or 'something'} laid over{by}")
    if expires := override.get("expires"):
        said.append(f"that expires {expires}")
    return said


def revisions(found: Iterable[Data]) -> Table:
    """Revisions, in their order."""
    rows = []
    for one in found:
        said = text(one.get("message")) or text(one.get("note"))
        if one.get("refers_to"):
            said += f"{' ' if said else ''}(of revision {one['refers_to']})"
        rows.append(
            (
                text(one.get("revision")),
                text(one.get("time")),
                text(one.get("author")),
                text(one.get("source")),
                "degraded" if one.get("degraded") else text(one.get("state")),
                said,
            )
        )
    return Table(("REVISION", "TIME", "AUTHOR", "SOURCE", "STATE", "MESSAGE"), rows)


def nodes(found: Sequence[Data]) -> Table:
    """Nodes, with a column for each type that any of them has, and one for replicas where there are several."""
    by_type = [{_type(name): entry for name, entry in (one.get("types") or {}).items()} for one in found]
    there = {name for types in by_type for name in types}
    known = dict.fromkeys(TYPES.values())
    columns = [*(name for name in known if name in there), *sorted(there - {*known})]
    several = any(one.get("replicas") for one in found)
    rows = [
        (
            text(one.get("id")),
            text(one.get("cluster")),
            locality(one.get("locality")),
            text(one.get("version")),
            text(one.get("connected")),
            text(one.get("status")),
            *([", ".join(map(str, one.get("replicas") or ()))] if several else []),
            *(_status(types.get(column)) for column in columns),
        )
        for one, types in zip(found, by_type, strict=True)
    ]
    head = ("NODE", "CLUSTER", "LOCALITY", "VERSION", "CONNECTED", "STATUS", *(("REPLICA",) if several else ()))
    return Table((*head, *columns), rows)


def _type(name: str) -> str:
    """`…envoy.config.cluster.v3.Cluster` and `clusters` are one column."""
    short = name.rpartition(".")[2]
    return TYPES.get(short.lower(), short.upper())


def _status(entry: Any) -> str:
    return text(entry.get("status")) if isinstance(entry, Mapping) else text(entry)


def locality(given: Any) -> str:
    """`eu/eu-1a`."""
    if isinstance(given, Mapping):
        parts = [str(given.get(name) or "") for name in ("region", "zone", "sub_zone")]
        return "/".join(parts).rstrip("/")
    return text(given)


def text(value: Any) -> str:
    """A plain value; nothing for what is not there."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _labels(given: Data | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((given or {}).items()))


def _origin(known: Data) -> str:
    line = known.get("line")
    return f"{known['origin']}:{line}" if line else text(known.get("origin"))
