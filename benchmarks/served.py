"""A catalogue that is written once, and a control plane that starts anew on it for each case, with the memory of that alone."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

from benchmarks.catalogue import Api, upstream
from benchmarks.load import Load
from xds_server.testing import XdsServerProcess

PATIENCE: Final = 600
"""Seconds that a start may take."""


class Served(NamedTuple):
    """What a case measures."""

    server: XdsServerProcess
    api: Api
    load: Load


@contextmanager
def stored(upstreams: list[dict[str, Any]]) -> Iterator[str]:
    """The URL of a store (SQLite) that holds these, written over HTTP by a server that ended since."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        store = f"sqlite:///{directory}/store.db"
        with XdsServerProcess(store=store, timeout=PATIENCE) as server:
            api = Api(server)
            api.apply(upstreams)
            api.close()
        yield store


def catalogue(upstreams: int, targets: int) -> list[dict[str, Any]]:
    """So many upstreams, alike but for their names and addresses."""
    return [upstream(number, targets) for number in range(upstreams)]


@contextmanager
def served(store: str, *args: str) -> Iterator[Served]:
    """A server that has just started on a store, and a load client. `args`: further options of `serve`."""
    with XdsServerProcess(store=store, args=args, timeout=PATIENCE) as server, Load(server.xds_address) as load:
        api = Api(server)
        try:
            yield Served(server, api, load)
        finally:
            with suppress(OSError):
                api.close()
