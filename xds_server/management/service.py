"""Everything that can be asked of a running control plane; HTTP and gRPC are thin over it."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from xds_server.catalog.catalog import Catalog, Outcome
from xds_server.catalog.errors import HistoryError, UnknownRecordError
from xds_server.catalog.store.records import GATEWAY, UPSTREAM, Attribution
from xds_server.delivery.checking import SecretsNow, not_servable
from xds_server.delivery.preview import Difference, lints_between, previews, touched
from xds_server.delivery.publisher import Publisher
from xds_server.delivery.trial import Trials
from xds_server.fleet import CatalogueFigures, UnknownRevisionError
from xds_server.management import rollouts, views
from xds_server.management.applying import Applying
from xds_server.management.definitions import Definitions, record
from xds_server.management.events import Events
from xds_server.management.history import History
from xds_server.management.targets import Targets
from xds_server.upstreams.lint import lint_one
from xds_server.xds import Node

LONGEST_WAIT: Final = 600.0
"""Seconds that a request waits for Envoys at the most."""


class Management:
    """The functions of the management, by what they are about."""

    def __init__(self, catalog: Catalog, publisher: Publisher, secrets_dir: Path | None = None) -> None:
        """`secrets_dir`: of the secrets that definitions may name; None where there is none."""
        self.catalog, self.publisher = catalog, publisher
        inspect = partial(not_servable, SecretsNow(secrets_dir) if secrets_dir is not None else None)
        self.upstreams = Definitions(catalog, UPSTREAM, inspect)
        self.gateways = Definitions(catalog, GATEWAY, inspect)
        self.targets = Targets(catalog, inspect)
        self.applying = Applying(catalog, inspect)
        self.history = History(catalog)
        self.events = Events(catalog)
        self._trials = Trials()

    def nodes(self) -> list[Node]:
        """Those that are connected, to any replica; a node with several streams may be several times in it."""
        return self.publisher.fleet.connected()

    def envoy(self, name: str, node_id: str | None = None) -> list[Any]:
        """The messages that an upstream becomes: for any Envoy, or for a connected node. Raises UnknownRecordError."""
        record(self.catalog.contents, UPSTREAM, name)
        node = None
        if node_id is not None:
            node = next((node for node in self.nodes() if node.id == node_id), None)
            if node is None:
                raise UnknownRecordError("connected node", node_id)
        return self.publisher.messages((UPSTREAM, name), node)

    async def preview(
        self, data: Any, by: Attribution, *, prune: bool = False, with_envoy: bool = False
    ) -> dict[str, Any]:
        """What applying a document would do. `with_envoy`: also whether a real Envoy takes it. Raises a RefusedError, and
        TrialError where none could be asked."""
        planned = await self.applying.preview(data, by, prune=prune)
        lints = await asyncio.to_thread(lints_between, planned.before, planned.after, self.nodes())
        shown = await self.shown(planned.difference, with_envoy=with_envoy)
        return {**shown, "warnings": [views.lint(each) for each in lints], "held": planned.objection}

    async def shown(self, difference: Difference, *, with_envoy: bool = False) -> dict[str, Any]:
        """What a change does, as plain data. Raises TrialError as `preview` does."""
        now = datetime.now(UTC)
        # Seconds for 10,000 upstreams, in which Envoys must not wait.
        found = await asyncio.to_thread(previews, difference, self.nodes(), now)
        shown: dict[str, Any] = {"changes": [views.preview(each) for each in found]}
        if with_envoy:
            shown["envoy"] = views.trial(await self._trials(await asyncio.to_thread(touched, difference, now)))
        return shown

    def outcome(self, made: Outcome) -> dict[str, Any]:
        """The answer to a write, with what will surprise in what it wrote."""
        upstreams = [
            upstream
            for kind, name in made.changes
            if kind == UPSTREAM and (upstream := self.catalog.contents.upstream(name)) is not None
        ]
        return {**views.outcome(made), "warnings": [views.lint(each) for one in upstreams for each in lint_one(one)]}

    async def wait(self, number: int, share: float, within: float) -> dict[str, Any]:
        """Wait until `share` percent of the affected Envoys have acknowledged a revision, `within` seconds at most, and no
        longer than `LONGEST_WAIT`."""
        progress = await self.publisher.fleet.wait(number, share, min(within, LONGEST_WAIT))
        return rollouts.waited(progress, share, self.catalog.contents)

    async def revision(self, number: int, wait: tuple[float, float] | None = None) -> dict[str, Any]:
        """One revision, which records it changed, and how far it has come with the Envoys.

        `wait`: share and time of `wait`, which comes first where the revision is in force. Raises UnknownRecordError, and
        HistoryError where it is too long ago to be waited for.
        """
        shown = await self.history.get(number)
        waited: dict[str, Any] = {}
        if wait is not None and shown["state"] == "applied":
            try:
                waited = {"wait": await self.wait(number, *wait)}
            except UnknownRevisionError as error:
                raise HistoryError(str(error)) from None
        return {**shown, **self.progress(number), **waited}

    def progress(self, number: int) -> dict[str, Any]:
        """How far a revision has come with the Envoys, and who rejects something of it."""
        return {
            "delivery": rollouts.delivery(self.publisher.fleet, number, self.catalog.contents),
            "degraded": self.degraded().get(number, []),
        }

    async def revision_page(self, *, before: int | None, most: int) -> list[dict[str, Any]]:
        """Revisions from the newest back; with `degraded` (who, what, why) those of which an Envoy rejects something now."""
        found = await self.history.page(before=before, most=most)
        degraded = self.degraded()
        return [
            each | {"degraded": degraded[each["revision"]]} if each["revision"] in degraded else each for each in found
        ]

    def degraded(self) -> dict[int, list[dict[str, Any]]]:
        """By revision, what connected Envoys reject at the moment of the definitions that it made."""
        return rollouts.degraded(self.publisher.fleet, self.catalog.contents)

    def node_page(self, *, after: str, most: int) -> tuple[list[dict[str, Any]], str | None]:
        """Nodes that are connected to any replica, or were of late, by id from `after` on, and the id to go on after."""
        found = self.publisher.fleet.nodes_after(after, most + 1)
        return [rollouts.node(each) for each in found[:most]], found[most - 1].id if len(found) > most else None

    @property
    def unknown(self) -> str:
        """Why those of other replicas may be missing; empty where none is."""
        return rollouts.of_others(self.publisher.fleet.others.problem)

    def node(self, node_id: str) -> dict[str, Any]:
        """One node, and what of its definitions it cannot be given as written. Raises UnknownRecordError."""
        status = self.publisher.fleet.node(node_id)
        if status is None:
            raise UnknownRecordError("node", node_id, ": it is not connected, and was not of late")
        known = next((node for node in self.nodes() if node.id == node_id), None)
        altered = self.publisher.warnings(known) if known is not None else {}
        return {**rollouts.node(status), "altered": {name: [*warnings] for name, warnings in sorted(altered.items())}}

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """The metrics and their content type."""
        catalog, contents = self.catalog, self.catalog.contents
        figures = CatalogueFigures(
            revision=max(catalog.delivered, 0),
            upstreams=contents.count(UPSTREAM),
            targets=contents.targets,
            gateways=contents.count(GATEWAY),
            is_writable=not catalog.problem,
            held_revisions=len(catalog.held),
        )
        self.publisher.fleet.metrics.catalogue(figures)
        return self.publisher.fleet.metrics.render(accept)

    @property
    def is_ready(self) -> bool:
        """Whether the catalogue is loaded, and xDS is served."""
        return self.publisher.is_serving
