"""The model client in both variants of the protocol: how a subscription, an answer and a response are written in each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2
from model_client import FULL_SETS, Answer, ModelClient, Refusal, Side, name_in

from xds_server.xds import CLUSTER


class SotwClient(ModelClient):
    request, response = discovery_pb2.DiscoveryRequest, discovery_pb2.DiscoveryResponse

    def ask(self, type_url: str, add: set[str], drop: set[str], *, stale: bool = False, claims: int = 0) -> None:
        side = self.sides[type_url]
        side.listed = (side.listed | add) - drop
        side.legacy = side.legacy and not side.listed
        if not side.requested and side.means_nothing:
            return
        side.named = side.named or bool(side.listed)
        wildcard = "*" in side.listed or (type_url in FULL_SETS and not side.named)
        if side.requested and wildcard != side.wildcard:
            side.accepted = (side.accepted[0], False)
        side.wildcard, side.names = wildcard, side.listed - {"*"}
        side.forget(name for name in {*side.held, *side.refused} if not side.wants(name))
        if stale and len(side.nonces) > 1:
            self._out(type_url, resource_names=sorted(side.listed), response_nonce=side.nonces[-2])
        else:
            self._flush(side)

    def forget(self, type_url: str) -> None:
        """The client holds nothing any more, and says so on the stream that it has (S30)."""
        side = self.sides[type_url]
        side.forget([*side.held, *side.refused])
        side.accepted = ("", False)
        if type_url == CLUSTER:
            self.warming.clear()
        self._out(type_url, resource_names=sorted(side.listed))

    def answer(self, type_url: str, *, leftover: bool = False) -> None:
        self._flush(self.sides[type_url], leftover=leftover)

    def _flush(self, side: Side, *, leftover: bool = False) -> None:
        """One request: with the newest names, and the answer to the newest response (S32)."""
        version, whole = side.accepted
        if side.type_url not in FULL_SETS and any(answer.error for answer in [*side.answers][:-1]):
            side.moody = True  # the server never hears of it (S27)
        if not side.requested and side.type_url in FULL_SETS and side.wildcard and not whole:
            version = ""  # it was that of a part
        error = None
        if side.answers and (side.answers[-1].error or (leftover and any(answer.error for answer in side.answers))):
            error = {"code": 13, "message": next(answer.error for answer in reversed(side.answers) if answer.error)}
            version = side.answers[-1].version or version
        side.answers.clear()
        nonce = side.nonces[-1] if side.nonces else ""
        self._out(
            side.type_url,
            resource_names=sorted(side.listed),
            version_info=version,
            response_nonce=nonce,
            error_detail=error,
        )

    def _changes(self, side: Side, message: Any) -> list[tuple[str, bytes | None, str]]:
        new = {name_in(side.type_url, body.value): body.value for body in message.resources}
        changes: dict[str, bytes | None] = {name: body for name, body in new.items() if side.wants(name)}
        if side.type_url in FULL_SETS:
            side.refused.clear()
            changes = {name: body for name, body in changes.items() if side.held.get(name) != body}
            changes |= dict.fromkeys(side.held.keys() - new.keys())
        return [(name, body, "") for name, body in sorted(changes.items())]

    def _accept(self, side: Side, message: Any, refusal: Refusal | None, whole: bool, words: str) -> None:
        if not refusal:
            side.accepted = (message.version_info, whole and side.wildcard)
        named = message.version_info if refusal and refusal.names_version else ""
        side.answers.append(Answer(message.nonce, named, words))


class DeltaClient(ModelClient):
    request, response = discovery_pb2.DeltaDiscoveryRequest, discovery_pb2.DeltaDiscoveryResponse

    def ask(self, type_url: str, add: set[str], drop: set[str], *, stale: bool = False, claims: int = 0) -> None:
        side = self.sides[type_url]
        was_wildcard, first = side.wildcard, not side.requested
        side.listed = (side.listed | add) - drop
        side.legacy = side.legacy and not side.listed and "*" not in drop
        if first and side.means_nothing:
            return
        everything = (side.legacy and first and type_url in FULL_SETS) or "*" in side.listed
        side.wildcard = everything or (was_wildcard and "*" not in drop)
        side.names = side.listed - {"*"}
        if side.wildcard and side.listed:
            side.listed.add("*")  # what a new stream will have to say (D6)
        if not side.wildcard:
            side.forget(name for name in {*side.held, *side.refused} if name not in side.names)
        answered = {"response_nonce": self._stale_nonce(side)} if stale else self._next_answer(side)
        if first:
            told = {name: version for name, version in side.versions.items() if name not in side.untold}
            self._out(
                type_url,
                resource_names_subscribe=sorted(side.listed),
                initial_resource_versions=_claim(told, claims),
                **answered,
            )
        else:
            self._out(
                type_url, resource_names_subscribe=sorted(add), resource_names_unsubscribe=sorted(drop), **answered
            )

    def answer(self, type_url: str, *, leftover: bool = False) -> None:
        side = self.sides[type_url]
        if not side.requested:
            self.ask(type_url, set(), set())  # it was sent this type unasked (S71)
        elif side.answers:
            self._out(type_url, **self._next_answer(side))

    def _stale_nonce(self, side: Side) -> str:
        due = {answer.nonce for answer in side.answers}
        return next((nonce for nonce in side.nonces if nonce not in due), "of another stream")

    def _next_answer(self, side: Side) -> dict[str, Any]:
        if not side.answers:
            return {}
        nonce, _, error = side.answers.popleft()
        return {"response_nonce": nonce, "error_detail": {"code": 13, "message": error} if error else None}

    def _changes(self, side: Side, message: Any) -> list[tuple[str, bytes | None, str]]:
        changes: list[tuple[str, bytes | None, str]] = [
            (entry.name, entry.resource.value, entry.version) for entry in message.resources if side.wants(entry.name)
        ]
        return changes + [(name, None, "") for name in message.removed_resources]

    def _accept(self, side: Side, message: Any, refusal: Refusal | None, whole: bool, words: str) -> None:
        side.answers.append(Answer(message.nonce, "", words))


def _claim(held: Mapping[str, str], how: int) -> dict[str, str]:
    """What a client says that it holds: the truth, or with other versions, without versions, with more than it holds."""
    if how == 1:
        return {name: f"not {version}" if index % 2 else version for index, (name, version) in enumerate(held.items())}
    if how == 2:
        return dict.fromkeys(held, "")
    return {**held, "unheard-of": "1"} if how == 3 else dict(held)
