"""`xds-server demo`: three backends, the control plane and a real Envoy on the quickstart definitions."""

import shlex
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from xds_server.cli.errors import fail

NAME: Final = "hello"
PORTS: Final = (8001, 8002, 8003)
GATEWAY: Final = 10000
REQUESTS: Final = 400
"""Requests for each share that `--once` shows."""


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Show a drain under traffic, say what was seen, and end.")
    ] = False,
) -> None:
    """Run three backends, the control plane and one Envoy on the quickstart definitions, until Ctrl-C."""
    from xds_server.envoy_binary import EnvoyNotFoundError, find_envoy

    try:
        find_envoy()
    except EnvoyNotFoundError as error:
        fail(str(error))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        running = _Demo(stack, any_port=once)
        if once:
            if not running.show_drain():
                fail("not everything that the demo promises was seen")
            return
        running.explain()
        try:
            running.tell()
        except KeyboardInterrupt:
            typer.echo("\nstopping")


class _Demo:
    """Everything that the demo runs, ended with `stack`."""

    def __init__(self, stack: ExitStack, *, any_port: bool) -> None:
        from xds_server.bootstrap import Bootstrap
        from xds_server.testing import Backend, EnvoyProcess
        from xds_server.testing.server import XdsServerProcess

        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xds-server-demo-")))
        self.backends = []
        for number, port in enumerate(PORTS, 1):
            wanted = 0 if any_port or not _free(port) else port
            self.backends.append(stack.enter_context(Backend(f"backend-{number}", port=wanted)))
        self.port = _any_port() if any_port or not _free(GATEWAY) else GATEWAY
        self.file = directory / "quickstart.yaml"
        text = quickstart().read_text(encoding="utf-8")
        for wanted, backend in zip(PORTS, self.backends, strict=True):
            text = text.replace(f"port: {wanted}", f"port: {backend.port}")
        self.file.write_text(text.replace(f"port: {GATEWAY}", f"port: {self.port}"), encoding="utf-8")
        self.server: Any = stack.enter_context(XdsServerProcess(self.file))
        bootstrap = Bootstrap(node_id="demo", node_cluster="demo", xds_address=self.server.xds_address)
        self.envoy: Any = stack.enter_context(EnvoyProcess(bootstrap))
        self.envoy.wait_for_endpoints(NAME, {backend.address: "HEALTHY" for backend in self.backends})
        self.envoy.wait_until(lambda: self.envoy.listener_port("public"), 10, "the gateway")

    def explain(self) -> None:
        """Say what runs and what to try."""
        targets = "\n".join(f"  {backend.name}  http://{backend.address}" for backend in self.backends)
        typer.echo(
            f"Running: three backends\n{targets}\n"
            f"  control plane  {self.server.xds_address} (xDS), watching {self.file}\n"
            f"  Envoy          http://127.0.0.1:{self.port}, admin {self.envoy.admin_url}\n\n"
            f"Try, in another terminal:\n"
            f"  curl -H 'Host: {NAME}' http://127.0.0.1:{self.port}/\n"
            f"  curl -H 'Host: {NAME}.example' http://127.0.0.1:{self.port}/\n"
            f"  for i in $(seq 20); do curl -s -H 'Host: {NAME}' http://127.0.0.1:{self.port}/; echo; done | sort | uniq -c\n"
            f"Then edit the definitions (a weight, or `state: draining`), save, and repeat the loop:\n"
            f"  ${{EDITOR:-vi}} {shlex.quote(str(self.file))}\n\n"
            f"Ctrl-C ends everything."
        )

    def tell(self) -> NoReturn:
        """Repeat what the control plane says of the definitions, as its user edits them."""
        told = 0
        while True:
            events = self.server.events()
            for event in events[told:]:
                if event["event"] == "definitions.broken":
                    place = ":".join(str(event[part]) for part in ("file", "line") if event.get(part))
                    said = [part for part in (place, event.get("field"), event["problem"]) if part]
                    typer.echo(f"  {': '.join(said)} (the last good definitions serve)")
                elif event["event"] == "definition.refused":
                    typer.echo(f"  {event['at']}: {event['problem']}")
                elif event["event"] == "definitions.loaded" and told:
                    typer.echo("  definitions loaded: live")
            told = len(events)
            time.sleep(0.1)

    def show_drain(self) -> bool:
        """Drain a target and return it, with traffic before, during and after; whether all was as promised."""
        pid = self.envoy.pid
        drained = self.backends[0]
        before = self._shares("weights 2:1:1")
        seen = [all(_near(before[b.name], share) for b, share in zip(self.backends, (0.5, 0.25, 0.25), strict=True))]
        took = self._edit(
            f"port: {drained.port}, weight: 2", f"port: {drained.port}, weight: 2, state: draining", "DRAINING"
        )
        typer.echo(f"  {drained.name} set to draining in the file: Envoy has it after {took * 1000:.0f} ms")
        during = self._shares(f"{drained.name} draining")
        seen.append(during[drained.name] == 0 and sum(during.values()) == REQUESTS)
        took = self._edit(", state: draining", "", "HEALTHY")
        typer.echo(f"  {drained.name} enabled again: Envoy has it after {took * 1000:.0f} ms")
        after = self._shares("weights 2:1:1")
        seen.append(_near(after[drained.name], 0.5))
        same = self.envoy.pid == pid and self.envoy.is_running
        seen.append(same)
        typer.echo(f"  the same Envoy process all along: {'yes' if same else 'no'}")
        typer.echo("All as promised." if all(seen) else "NOT as promised.")
        return all(seen)

    def _shares(self, title: str) -> Counter[str]:
        from xds_server.testing import send

        shares: Counter[str] = send(self.port, NAME, REQUESTS)
        counted = ", ".join(f"{backend.name} {shares[backend.name]}" for backend in self.backends)
        typer.echo(f"  {title}: {REQUESTS} requests -> {counted}")
        return shares

    def _edit(self, old: str, new: str, expected: str) -> float:
        """Change the definitions and wait until Envoy shows the first backend's new state; returns the seconds."""
        text = self.file.read_text(encoding="utf-8")
        self.file.write_text(text.replace(old, new), encoding="utf-8")
        start = time.monotonic()
        address = self.backends[0].address
        self.envoy.wait_until(lambda: self.envoy.endpoints(NAME).get(address) == expected, 10, f"{address} {expected}")
        return time.monotonic() - start


def quickstart() -> Path:
    """The quickstart definitions: in a checkout under `examples/`, in an installed package beside this file."""
    packaged = Path(__file__).with_name("quickstart.yaml")
    return packaged if packaged.exists() else Path(__file__).parents[2] / "examples" / "quickstart.yaml"


def _near(count: int, share: float) -> bool:
    return abs(count / REQUESTS - share) <= 0.02


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
