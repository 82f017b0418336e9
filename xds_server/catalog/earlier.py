"""What a definition was before what it is."""

from xds_server.catalog.catalog import HURRY, Catalog
from xds_server.catalog.contents import placed, read
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.records import Key
from xds_server.upstreams.model import Gateway, Placed, Upstream

MOST = 20
"""Versions that are looked at."""


async def earlier(catalog: Catalog, key: Key) -> list[Placed[Upstream] | Placed[Gateway]]:
    """The versions of a definition before the one in force, newest first, as far as the history goes.

    None while the store is lost: an Envoy that refuses much would be waited for once for each.
    """
    if catalog.problem or (record := catalog.contents.records.get(key)) is None:
        return []
    try:
        entries = await catalog.call(catalog.store.earlier, key, record.held.revision, MOST, patience=HURRY)
    except StoreError:
        return []  # who looks after the store tells of it
    found: list[Placed[Upstream] | Placed[Gateway]] = []
    for entry in entries:
        value = read(key[0], entry)
        match value:
            case Upstream():
                found.append(placed(entry, value))
            case Gateway():
                found.append(placed(entry, value))
    return found
