"""How far revisions have come with the Envoys, as plain data. Pure but for what the fleet knows at the moment."""

from typing import Any, Final

from xds_server.catalog.contents import Contents
from xds_server.fleet import WORST_FIRST, Fleet, NodeStatus, Progress, TypeStatus, UnknownRevisionError
from xds_server.management.blame import Blame, blame

MOST: Final = 100
"""Nodes that are named at a time."""


def waited(progress: Progress, share: float, contents: Contents) -> dict[str, Any]:
    """The answer to who waited for `share` percent."""
    ok = progress.reached(share)
    return {**_shown(progress, contents), "share": share, "ok": ok, "detail": _sentence(progress, share, ok=ok)}


def delivery(fleet: Fleet, number: int, contents: Contents) -> dict[str, Any] | None:
    """How far a revision has come; None where that is too long ago to be known."""
    try:
        return _shown(fleet.progress(number), contents)
    except UnknownRevisionError:
        return None


def degraded(fleet: Fleet, contents: Contents) -> dict[int, list[dict[str, Any]]]:
    """By revision, what connected Envoys reject at the moment of the definitions that it made."""
    found: dict[int, list[dict[str, Any]]] = {}
    for node in fleet.rejecting():
        for type in node.types:
            for words, culprits in _refusals(type).items():
                for each in blame(type.type_url, tuple(culprits), words, contents):
                    number = contents.records[each.kind, each.name].held.revision
                    known = found.setdefault(number, [])
                    if len(known) < MOST:
                        known.append({"node": node.id, **_blamed(each), "detail": words.strip()})
    return found


def _refusals(type: TypeStatus) -> dict[str, list[str]]:
    """By an Envoy's words, the resources that it refuses, as far as they are known."""
    found: dict[str, list[str]] = {}
    for each in type.quarantined:
        found.setdefault(each.message, []).append(each.name)
    if type.rejection is not None:
        found.setdefault(type.rejection.message, [*type.rejection.culprits])
    return found


def node(status: NodeStatus) -> dict[str, Any]:
    """One node, with the worst status of its types in front."""
    shown = status.as_dict()
    types = {each.pop("type"): each for each in shown.pop("types")}
    locality = {part: shown.pop(part) for part in ("region", "zone", "sub_zone")}
    statuses = {each["status"] for each in types.values()}
    worst = next((word for word in WORST_FIRST if word in statuses), "NOT SENT")
    return {
        "id": shown.pop("id"),
        "status": worst if status.connected else "DISCONNECTED",
        "version": shown.pop("user_agent"),
        "locality": locality,
        "replicas": [*status.replicas],
        **shown,
        "types": types,
    }


def of_others(problem: str) -> str:
    """That, and why, not all is known of other replicas; empty for no problem."""
    return f"not all is known of other replicas: {problem}" if problem else ""


def _shown(progress: Progress, contents: Contents) -> dict[str, Any]:
    pending = [{"node": name, "what": ", ".join(types)} for name, types in sorted(progress.pending.items())[:MOST]]
    return {
        "published": progress.published,
        "affected": progress.affected,
        "acknowledged": progress.acknowledged,
        "warm": progress.warm,
        "left": progress.left,
        "pending": pending,
        "rejected": [
            {
                "node": each.node,
                "type": each.type,
                "detail": each.message.strip(),
                "culprits": [*each.culprits],
                "upstreams": [_blamed(found) for found in blame(each.type, each.culprits, each.message, contents)],
            }
            for each in progress.rejected[:MOST]
        ],
        "seconds": progress.seconds,
        "awaited_replicas": [*progress.awaited],
        "unknown": of_others(progress.unknown),
    }


def _blamed(each: Blame) -> dict[str, str]:
    return {"kind": each.kind, "name": each.name, "field": each.field}


def _sentence(progress: Progress, share: float, *, ok: bool) -> str:
    if not progress.published:
        return "it is committed, and not served yet"
    answered = "no connected Envoy is affected"
    if progress.affected:
        answered = f"{progress.acknowledged} of {progress.affected} affected Envoys acknowledged it"
    if ok:
        return answered
    rejected = f", {progress.rejections} rejected it" if progress.rejections else ""
    names = ", ".join(sorted(progress.pending)[:5])
    parts = [f"{answered}{rejected}, {share:g} % were wanted"]
    parts += [f"not answered: {names}"] if names else []
    parts += [f"not served yet by {', '.join(progress.awaited)}"] if progress.awaited else []
    parts += [of_others(progress.unknown)] if progress.unknown else []
    return "; ".join(parts)
