"""An open store on each database."""

from collections.abc import Iterator

import pytest

from xds_server.catalog.store.store import Store


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    store = Store(store_url)
    yield store
    store.close()
