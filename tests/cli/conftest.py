"""A running control plane without files, and the command line against it."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from command_line import CommandLine
from forked_commands import ForkedCommands

from xds_server.testing.server import XdsServerProcess


@pytest.fixture(scope="module")
def server() -> Iterator[XdsServerProcess]:
    """Of a whole module: each test has upstreams of its own names."""
    with XdsServerProcess() as server:
        yield server


@pytest.fixture(scope="session")
def forked() -> Iterator[ForkedCommands]:
    forked = ForkedCommands()
    yield forked
    forked.close()


@pytest.fixture(scope="session")
def command_line(forked: ForkedCommands) -> Callable[..., CommandLine]:
    """The command line against any address."""
    return partial(CommandLine, forked=forked)


@pytest.fixture(scope="module")
def cli(server: XdsServerProcess, command_line: Callable[..., CommandLine]) -> CommandLine:
    return command_line(server.http_address)
