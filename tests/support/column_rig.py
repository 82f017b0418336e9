"""The whole product with an Envoy of a column of the matrix."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from envoy_matrix import Column
from rig import Rig, free_port

from xds_server.testing import EnvoyProcess
from xds_server.testing.server import XdsServerProcess


class ColumnRig(Rig):
    """A rig whose Envoy is that of a column. Definitions that are written before it is entered are there from the start."""

    def __init__(self, directory: Path, column: Column) -> None:
        super().__init__(directory, protocol=column.option, edit=column.edit)
        self.column = column
        self.started = 0.0
        """When Envoy was started, by `time.monotonic`."""
        self.first_answer = 0.0
        """Seconds from then to the first answer through it, once that has come."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.write("gateways", gateways=[{"name": "public", "address": "127.0.0.1", "port": free_port()}])
            self.server = stack.enter_context(XdsServerProcess(self.directory, args=["--log-level", "debug"]))
            self.started = time.monotonic()
            self.envoy = stack.enter_context(EnvoyProcess(self._bootstrap(), binary=self.column.binary))
            self.envoy.wait_until(lambda: self.port, 10, "the listener")
            self._stack = stack.pop_all()
        return self
