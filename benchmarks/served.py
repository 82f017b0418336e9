"""A control plane with a catalogue that is written once, and started anew for each case: with the memory of that case alone."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from benchmarks.catalogue import Api, upstream
from benchmarks.load import Load
from xds_server.testing import XdsServerProcess

PATIENCE = 600
"""Seconds that a start may take."""


class Served(NamedTuple):
    """What a case measures."""

    server: XdsServerProcess
    api: Api
    load: Load


@contextmanager
def catalogue_of(upstreams: int, targets: int, *args: str, **more: Any) -> Iterator[XdsServerProcess]:
    """A server whose store holds so many upstreams. `args`: further options of `serve`; `more`: of each upstream."""
    with XdsServerProcess(args=args, timeout=PATIENCE) as server:
        api = Api(server)
        api.apply([upstream(number, targets, **more) for number in range(upstreams)])
        api.close()
        yield server


@contextmanager
def served_anew(server: XdsServerProcess) -> Iterator[Served]:
    """The server after a restart, with a load client."""
    server.restart()
    with Load(server.xds_address) as load:
        api = Api(server)
        try:
            yield Served(server, api, load)
        finally:
            with suppress(OSError):
                api.close()
