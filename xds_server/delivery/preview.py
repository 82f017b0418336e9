"""What a change of definitions would do: line by line, in Envoy, and to whom. Pure; host names are not looked up."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import yaml

from xds_server.catalog.contents import Value
from xds_server.catalog.overrides import TargetOverride, overridden, split_name
from xds_server.catalog.store.records import GATEWAY, OVERRIDE, UPSTREAM, Key
from xds_server.delivery.audience import matches, selector_key
from xds_server.delivery.compiled import Compiled, NotServableError, compile_gateway, compile_upstream
from xds_server.delivery.effects import Effects, effects
from xds_server.delivery.overlap import leaves_unserved
from xds_server.delivery.stand_ins import SecretStandIns, address_stand_ins
from xds_server.upstreams.deadlines import as_of
from xds_server.upstreams.lint import Lint, lint_one, lint_together
from xds_server.upstreams.model import Gateway, NodeSelector, Upstream
from xds_server.xds import Node

CONTEXT: Final = 3
"""Unchanged lines that are shown around changed ones."""

Values = Mapping[Key, Value]
_Dumper: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""LibYAML's where PyYAML has it: it is several times faster, and most of what a preview costs."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What would become of one record."""

    kind: str
    name: str
    action: Literal["added", "changed", "removed"]
    effects: Effects
    lines: tuple[str, ...]
    """The difference of what is written, each line behind ``+``, ``-`` or a space."""
    lints: tuple[Lint, ...]
    """What will surprise in it afterwards."""
    nodes: tuple[str, ...]
    """Ids of the connected nodes that receive it, before or after."""


class Difference(NamedTuple):
    """Records before and after a change: those that may differ, and what they need: upstreams for overrides, and for
    gateways that forward to one."""

    before: Values
    after: Values

    @property
    def keys(self) -> list[Key]:
        """Of the records that do differ, sorted."""
        both = self.before.keys() | self.after.keys()
        return sorted(key for key in both if self.before.get(key) != self.after.get(key))


def previews(difference: Difference, nodes: Iterable[Node], now: datetime) -> list[Preview]:
    """What would become of each record that differs."""
    nodes = list(nodes)
    before, after = (_Served(values, now) for values in difference)
    return [_preview(key, before, after, nodes) for key in difference.keys]


def touched(difference: Difference, now: datetime) -> list[Upstream | Gateway]:
    """The definitions that a change would make otherwise, as they would be served, with the upstreams that gateways need."""
    keys: set[Key] = set()
    for kind, name in difference.keys:
        keys.add((UPSTREAM, split_name(name)[0]) if kind == OVERRIDE else (kind, name))
        gateway = difference.after.get((kind, name))
        if isinstance(gateway, Gateway) and gateway.upstream is not None:
            keys.add((UPSTREAM, gateway.upstream))
    after = _Served(difference.after, now)
    found = (after.value(key) for key in sorted(keys))
    return [each for each in found if isinstance(each, Upstream | Gateway)]


def lints_between(before: Iterable[Upstream], after: Iterable[Upstream], nodes: Iterable[Node]) -> list[Lint]:
    """What will surprise in all upstreams together, and would not without the change: with the Envoys that are connected."""
    envoys = [*{node.id: node for node in nodes if not node.is_grpc}.values()]
    counts: dict[str, int] = {}

    def count(upstream: Upstream) -> int:
        key = selector_key(upstream.nodes)
        if key not in counts:
            counts[key] = max(1, sum(matches(upstream.nodes, node) for node in envoys))
        return counts[key]

    old = {*lint_together([*before], count)}
    return [each for each in lint_together([*after], count) if each not in old]


class _Served:
    """Records as they are served at a moment: definitions with the overrides over them."""

    def __init__(self, values: Values, now: datetime) -> None:
        self.written, self._now = values, now
        self._overrides: dict[str, dict[str, TargetOverride]] = {}
        for (_, name), value in values.items():
            if isinstance(value, TargetOverride):
                upstream, target = split_name(name)
                self._overrides.setdefault(upstream, {})[target] = value

    def value(self, key: Key) -> Value | None:
        value = self.written.get(key)
        if not isinstance(value, Upstream):
            return value
        return as_of(overridden(value, self._overrides.get(key[1], {})), self._now)


def _preview(key: Key, served_before: _Served, served_after: _Served, nodes: list[Node]) -> Preview:
    before, after = served_before.written, served_after.written
    old, new = before.get(key), after.get(key)
    about = (UPSTREAM, split_name(key[1])[0]) if key[0] == OVERRIDE else key
    was, will = served_before.value(about), served_after.value(about)
    unserved = isinstance(was, Upstream) and isinstance(will, Upstream) and leaves_unserved(was, will)
    made = effects(_compiled(was), _compiled(will), moved=_moved(about, before, after), unserved=unserved)
    upstream = after.get(about)
    lints = lint_one(upstream) if isinstance(upstream, Upstream) else []
    touched = {node.id for values in (before, after) for node in _audience(about, values, nodes)} if made else set()
    action: Literal["added", "changed", "removed"] = "added" if old is None else "removed" if new is None else "changed"
    return Preview(*key, action, made, tuple(_lines(old, new)), tuple(lints), tuple(sorted(touched)))


def _compiled(value: Value | None) -> Compiled | None:
    try:
        if isinstance(value, Upstream):
            return compile_upstream(value, address_stand_ins(value), served=True, secrets=SecretStandIns(value))
        return compile_gateway(value) if isinstance(value, Gateway) else None
    except NotServableError:
        return None


def _selector(key: Key, values: Values) -> NodeSelector | None:
    """Which nodes receive a definition; None for one that is not there."""
    value = values.get(key)
    if isinstance(value, Gateway):
        if value.upstream is None:
            return NodeSelector()
        value = values.get((UPSTREAM, value.upstream))
    return value.nodes if isinstance(value, Upstream) else None


def _moved(key: Key, before: Values, after: Values) -> bool:
    old, new = _selector(key, before), _selector(key, after)
    return old is not None and new is not None and old != new


def _audience(key: Key, values: Values, nodes: list[Node]) -> Iterator[Node]:
    selector = _selector(key, values)
    if selector is not None:
        yield from (node for node in nodes if matches(selector, node) and not (key[0] == GATEWAY and node.is_grpc))


def _lines(old: Value | None, new: Value | None) -> Iterator[str]:
    before, after = (_text(value) for value in (old, new))
    for line in difflib.unified_diff(before, after, n=CONTEXT, lineterm=""):
        if not line.startswith(("+++", "---", "@@")):
            yield line


def _text(value: Value | None) -> list[str]:
    if value is None:
        return []
    data: dict[str, Any] = value.model_dump(mode="json", exclude_unset=True)
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text.splitlines()
