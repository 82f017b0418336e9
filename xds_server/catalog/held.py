"""Revisions that the guard holds: which of them a newer one releases or takes the place of. Pure."""

from collections.abc import Mapping

from xds_server.catalog.planning import Plan, Proposal
from xds_server.catalog.store.records import FILES, State
from xds_server.catalog.store.store import Committed

Held = Mapping[int, Committed]


def marks(held: Held, proposal: Proposal, made: Plan) -> dict[int, State]:
    """What becomes of held revisions with a change: one is released by its confirmation, and those of the same source are
    superseded: of files always, as these say everything anew; else when both are about the same records."""
    found: dict[int, State] = {}
    for number, (revision, changes) in held.items():
        if number == proposal.confirms:
            found[number] = "released"
        elif revision.by.source == proposal.by.source and (
            revision.by.source == FILES or not made.changes.keys().isdisjoint(changes)
        ):
            found[number] = "superseded"
    return found


def same(held: Held, proposal: Proposal, made: Plan) -> Committed | None:
    """The revision that holds just this change already: asked for again, by a restart say, it keeps its number."""
    for each in held.values():
        if made.objection and each.revision.by.source == proposal.by.source and each.changes == made.changes:
            return each
    return None
