"""Backends that differ by their loopback address alone, as the addresses of one name do."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from xds_server.testing import Backend


@contextmanager
def backends_at(*hosts: str) -> Iterator[list[Backend]]:
    """A backend at each address, all on the same port, each named by its address."""
    for attempt in range(20):
        with ExitStack() as running:
            started = [running.enter_context(Backend(hosts[0], host=hosts[0]))]
            try:
                started += [running.enter_context(Backend(host, host=host, port=started[0].port)) for host in hosts[1:]]
            except OSError:
                if attempt == 19:
                    raise
                continue  # the port is taken at one of the others
            yield started
            return
