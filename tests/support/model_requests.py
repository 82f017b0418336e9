"""What a request tells of its sender: what it wants, what it holds, and how it takes what it was sent."""

from __future__ import annotations

from typing import Any

from model_ledger import MOST_TRIES, Ledger, Sent


def take_note(ledger: Ledger, message: Any) -> str:
    """Take note of a request. Returns the event that must follow, if any."""
    event = _answer(ledger, message)
    side = ledger.side
    wildcard, names = ledger.wildcard, ledger.names
    ledger.wildcard, ledger.names = side.wildcard, frozenset(side.names)
    claimed = _subscribe(ledger, message, names) if ledger.delta else _name_all(ledger, message, names)
    if not ledger.requested:
        ledger.requested, ledger.claimed = True, claimed
        if ledger.begun and isinstance(claimed, dict):
            ledger.sent = {**claimed, **ledger.sent}
    if side.wildcard and not wildcard:
        ledger.answer_due = ledger.begun
        ledger.may |= ledger.sent.keys()
    _forget_refusals(ledger, message)
    for name in [name for name in ledger.sent if not side.wants(name) and name not in ledger.asked]:
        del ledger.sent[name]
    for kept in (ledger.asked, ledger.refused_removals):
        kept.intersection_update([name for name in kept if side.wants(name)])
    return event


def _forget_refusals(ledger: Ledger, message: Any) -> None:
    """What is asked for anew may be sent, refused before or not."""
    if ledger.answer_due or "*" in getattr(message, "resource_names_subscribe", ()):
        ledger.barred.clear()
    for name in ledger.asked | ({*message.resource_names_unsubscribe} if ledger.delta else set()):
        ledger.barred.pop(name, None)
    for name in [name for name in (*ledger.barred, *(ledger.accepted or ())) if not ledger.side.wants(name)]:
        ledger.barred.pop(name, None)
        (ledger.accepted or {}).pop(name, None)


def _subscribe(ledger: Ledger, message: Any, names: frozenset[str]) -> dict[str, str]:
    """Delta, after having asked for `names`. Returns what the client says that it holds."""
    asked = set(message.resource_names_subscribe) - {"*"}
    dropped = set(message.resource_names_unsubscribe) - {"*"}
    if "*" in message.resource_names_subscribe:
        ledger.may |= ledger.sent.keys()
        ledger.may_answer = True
    if ledger.side.wildcard:
        ledger.may |= dropped
        ledger.asked |= dropped & names if ledger.begun else set()  # D11
    ledger.urgent |= bool(asked)
    ledger.asked = (ledger.asked | asked) - (set() if ledger.side.wildcard and ledger.begun else dropped)
    return dict(message.initial_resource_versions)


def _name_all(ledger: Ledger, message: Any, names: frozenset[str]) -> str:
    """The same for state of the world."""
    side = ledger.side
    again = not message.response_nonce and ledger.spoken and not ledger.waiting  # S30
    ledger.asked |= {*side.names, *ledger.sent} if again else side.names - names
    ledger.answer_due |= again and side.wildcard
    if again:
        ledger.accepted, ledger.complete = {}, True
    ledger.may_answer |= bool(side.names - names)
    return str(message.version_info)


def _answer(ledger: Ledger, message: Any) -> str:
    known = ledger.waiting.pop(message.response_nonce, None)
    if known is None:
        return ""
    side, full = ledger.side, ledger.is_full_set
    if not message.HasField("error_detail"):
        side.unsettled -= side.unsettled if full else known.names | known.removed
        _accepted(ledger, known)
        return "acknowledged"
    ledger.rejections = True
    side.unsettled |= {"*"} if full else known.names
    asked = {name for name in known.removed if ledger.wildcard or name in ledger.names}
    ledger.refused_removals |= (asked - ledger.sent.keys()) if ledger.delta else set()
    ledger.may_answer |= bool(ledger.refused_removals)
    if not ledger.delta and ledger.leaves_errors and message.version_info == known.version:
        if not full:
            _accepted(ledger, known)  # the error is left over from before (S19)
    else:
        _rejected(ledger, known, message.error_detail.message)
    return "rejected"


def _accepted(ledger: Ledger, known: Sent) -> None:
    if ledger.is_full_set:
        ledger.accepted, ledger.complete = dict(known.contents), True
    else:
        for name in known.names:
            ledger.barred.pop(name, None)


def _rejected(ledger: Ledger, known: Sent, words: str) -> None:
    """What may be sent because of it: the others, again, but for what is to blame."""
    named = {name for name in known.contents if f"'{name}' is wrong" in words}
    if ledger.is_full_set:
        ledger.barred |= {name: known.contents[name] for name in named}
        ledger.may_answer |= bool(named)
        return
    if not named and len(known.names) == 1:
        named = set(known.names)
    # What is to be sent for another reason is sent all the same, and what was sent since has an answer of its own to come.
    later = {name for other in ledger.waiting.values() for name in other.names}
    ledger.barred |= {name: known.contents[name] for name in named - ledger.again - ledger.may - later}
    others = known.names - named
    ledger.may |= others
    ledger.tries |= others
    ledger.tries_left = ledger.tries_left if known.is_try else MOST_TRIES
    if len(others) > 1:
        ledger.parked.append(set(others))
