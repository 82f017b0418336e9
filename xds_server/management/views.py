"""What the management shows, as plain data: one shape for HTTP, gRPC and the command line. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from xds_server.catalog.catalog import Outcome
from xds_server.catalog.contents import AnyRecord, Contents
from xds_server.catalog.overrides import TargetOverride, overridden, override_name
from xds_server.catalog.store.records import OVERRIDE, UPSTREAM, Changes, Outline, Revision
from xds_server.delivery.preview import Preview
from xds_server.delivery.trial import Trial
from xds_server.upstreams.lint import Lint
from xds_server.upstreams.model import Definition, Target, Upstream

NODES: Final = 20
"""Ids of nodes that a preview names."""


def written(value: Definition) -> dict[str, Any]:
    """A definition as its author wrote it."""
    return value.model_dump(mode="json", exclude_unset=True)


def about(contents: Contents, record: AnyRecord, name: str) -> dict[str, Any]:
    """What is known of a record beside what it says."""
    shown: dict[str, Any] = {"revision": record.held.revision, "origin": record.owner}
    if record.held.entry.line:
        shown["line"] = record.held.entry.line
    if record.kind == UPSTREAM and (overrides := contents.overrides(name)):
        shown["overrides"] = {target: written(override) for target, override in overrides.items()}
    return shown


def targets(contents: Contents, upstream: Upstream) -> list[dict[str, Any]]:
    """The targets of an upstream as they are served, with what operators laid over them."""
    overrides = contents.overrides(upstream.name)
    records = {key: contents.records.get((OVERRIDE, override_name(upstream.name, key))) for key in overrides}
    served = overridden(upstream, overrides)
    return [target(each, overrides.get(each.key), records.get(each.key)) for each in served.targets]


def target(served: Target, override: TargetOverride | None, record: AnyRecord | None = None) -> dict[str, Any]:
    """One target. `record`: that of the override, whose revision says who laid it over, when and why."""
    said = {name: value for name, value in written(served).items() if value is not None}
    shown: dict[str, Any] = {"target": served.key, **said}
    shown |= {"weight": served.weight, "priority": served.priority, "state": served.state}
    if override is not None:
        shown["override"] = written(override)
    if record is not None:
        shown["overridden_by"] = record.held.revision
    return shown


def revision(one: Revision) -> dict[str, Any]:
    """A revision without what it changed."""
    shown: dict[str, Any] = {
        "revision": one.number,
        "time": time(one.time),
        "author": one.by.author,
        "message": one.by.message,
        "source": one.by.source,
        "client": one.by.client,
        "state": one.state,
    }
    if one.refers_to is not None:
        shown["refers_to"] = one.refers_to
    if one.note:
        shown["note"] = one.note
    return shown


def changes(made: Changes) -> list[dict[str, Any]]:
    """Which records a revision changed."""
    return [{"kind": kind, "name": name, "action": change.action} for (kind, name), change in sorted(made.items())]


def event(one: Outline) -> dict[str, Any]:
    """A revision as those are told of it who read along."""
    named = [{"kind": kind, "name": name, "action": action} for (kind, name), action in one.changes.items()]
    return {**revision(one.revision), "changes": named, "change_count": one.total}


def outcome(made: Outcome) -> dict[str, Any]:
    """The answer to a write."""
    shown: dict[str, Any] = {"revision": made.number, "changed": bool(made.changes) and not made.is_held}
    shown |= {"state": made.revision.state if made.revision is not None else "unchanged"}
    if made.revision is not None and made.revision.note:
        shown["note"] = f"{made.revision.note} (xds-server confirm {made.number})"
    shown["changes"] = changes(made.changes)
    return shown


def lint(one: Lint) -> dict[str, Any]:
    """A warning."""
    return {"upstream": one.upstream, "field": one.field, "code": one.code, "message": one.message, "fix": one.fix}


def preview(one: Preview) -> dict[str, Any]:
    """What would become of a record."""
    return {
        "kind": one.kind,
        "name": one.name,
        "action": one.action,
        "effect": str(one.effects),
        "drops": [*one.effects.drops],
        "nodes": {"count": len(one.nodes), "ids": [*one.nodes[:NODES]]},
        "diff": [*one.lines],
        "warnings": [lint(each) for each in one.lints],
    }


def trial(one: Trial) -> dict[str, Any]:
    """What a real Envoy says of definitions. What it refuses only together with others has no kind and no name."""
    return {
        "version": one.version,
        "checked": one.checked,
        "refused": [
            {"kind": each.key[0], "name": each.key[1], "detail": each.words}
            if each.key is not None
            else {"kind": "", "name": "", "detail": f"these together: {each.words}"}
            for each in one.refusals
        ],
    }


def time(moment: datetime) -> str:
    """A moment as RFC 3339 has it, in UTC."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def has_labels(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether all of some labels are among others."""
    return all(labels.get(key) == value for key, value in wanted.items())


def upstreams_with(contents: Contents, labels: Mapping[str, str]) -> list[str]:
    """Names of the upstreams that carry all of some labels, sorted."""
    records = ((name, contents.records[UPSTREAM, name]) for name in contents.names(UPSTREAM))
    return [name for name, record in records if has_labels(record.facts.labels, labels)]
