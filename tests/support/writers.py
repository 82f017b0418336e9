"""Clients that write over the API as fast as they are answered, and remember exactly what they were told."""

from __future__ import annotations

import random
import threading
from typing import Any, NamedTuple

import httpx

from xds_server.catalog.store.records import Key
from xds_server.catalog.store.store import Store

UNSURE = (httpx.TransportError,)
"""What a client sees when the server dies: the write may have been made."""


class Acknowledged(NamedTuple):
    """A write that was answered with success."""

    revision: int
    says: dict[Key, str | None]
    """What each record was to hold; None: that it is gone."""


class Writer(threading.Thread):
    """Writes upstreams of its own, marked by a number that grows with each write, until it is told to stop.

    One write in four is a document of two upstreams, which must always have the same mark, or neither of them.
    """

    def __init__(self, name: str, address: str, seed: int, *, first: int = 0) -> None:
        super().__init__(name=name, daemon=True)
        self._name, self._url = name, f"http://{address}"
        self._random = random.Random(seed)
        self.mark = first
        self.acknowledged: list[Acknowledged] = []
        self.refused: list[dict[Key, str | None]] = []
        """What was to be written that was answered with 503 and the assurance that nothing was changed."""
        self.in_doubt = 0
        """Writes that were answered with 503 without it."""
        self.surprises: list[str] = []
        """Answers that there must not be."""
        self.was_cut_short = False
        """Whether a write had no answer."""
        self.is_over = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as http:
            while not self.is_over.is_set():
                try:
                    self._write(http)
                except UNSURE:
                    self.was_cut_short = True
                    return

    def _write(self, http: httpx.Client) -> None:
        self.mark += 1
        mark, one, two = str(self.mark), f"{self._name}-one", f"{self._name}-two"
        match self._random.randrange(8):
            case 0 | 1:
                body = {"upstreams": [{"name": name, "description": mark} for name in (f"{one}p", f"{two}p")]}
                says: dict[Key, str | None] = {("upstream", f"{one}p"): mark, ("upstream", f"{two}p"): mark}
                answer = http.post("/v1/apply", json=body)
            case 2:
                says = {("upstream", two): None}
                answer = http.delete(f"/v1/upstreams/{two}")
                if answer.status_code == 404:
                    return
            case 3 | 4:
                says = {("upstream", two): mark}
                answer = http.put(f"/v1/upstreams/{two}", json={"description": mark, "targets": []})
            case _:
                says = {("upstream", one): mark}
                answer = http.put(f"/v1/upstreams/{one}", json={"description": mark})
        if answer.status_code == 503:
            if "nothing was changed" in answer.json()["detail"]:
                self.refused.append(says)
            else:
                self.in_doubt += 1
        elif answer.is_success:
            self.acknowledged.append(Acknowledged(answer.json()["revision"], says))
        else:
            self.surprises.append(f"{answer.status_code} {answer.text[:300]}")

    def stop(self) -> None:
        """After the write that is under way."""
        self.is_over.set()
        self.join(60)
        assert not self.is_alive()


def missing(acknowledged: list[Acknowledged], history: dict[int, dict[Key, Any]]) -> list[Acknowledged]:
    """Acknowledged writes that are not in the history exactly as they were said. `history`: by revision, what each record
    holds (None: it was removed)."""

    def is_there(one: Acknowledged) -> bool:
        found = history.get(one.revision, {})
        return all(key in found and found[key] == mark for key, mark in one.says.items())

    return [one for one in acknowledged if not is_there(one)]


def history(url: str) -> dict[int, dict[Key, Any]]:
    """What each revision in a store did: the mark that each record carries from then on, None where it was removed."""
    store = Store(url)
    try:
        return {
            each.revision.number: {
                key: change.entry.data.get("description") if change.entry else None
                for key, change in each.changes.items()
            }
            for each in store.since(0, 1_000_000)
        }
    finally:
        store.close()


def marks(history: dict[int, dict[Key, Any]]) -> list[tuple[Key, str]]:
    """Every mark that any record ever had, as often as it came."""
    return [(key, mark) for changes in history.values() for key, mark in changes.items() if mark is not None]
