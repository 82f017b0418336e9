"""The composition root: wires files, delivery and the discovery server, runs them, and stops them in order."""

import asyncio
import signal
from typing import Any

import structlog

from xds_server import __version__
from xds_server.catalog.files import FileSource
from xds_server.delivery.publisher import Publisher
from xds_server.settings import Settings
from xds_server.xds import Event

NAMES = 10
"""Resource names that one line of the log shows."""

log = structlog.get_logger("server")


async def serve(settings: Settings) -> None:
    """Run the control plane until SIGTERM or SIGINT. Raises AddressInUseError when the port is taken."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    publisher = Publisher()
    publisher.server.subscribe(log_event)
    source = FileSource(settings.definitions, publisher.apply)
    port = await publisher.server.start(settings.xds_address)
    host = settings.xds_address.rpartition(":")[0]
    log.info("server.started", version=__version__, xds_address=f"{host}:{port}")
    try:
        await _until(stop, source.run(), publisher.resolver.run(), _announce(source))
    finally:
        log.info("server.stopping")
        await publisher.server.stop()
        log.info("server.stopped")


async def _announce(source: FileSource) -> None:
    await source.ready.wait()
    log.info("server.ready")


async def _until(stop: asyncio.Event, *work: Any) -> None:
    """Run `work` until `stop` is set; a part that fails ends all of it with its exception."""
    tasks = [asyncio.ensure_future(part) for part in work]
    stopped = asyncio.create_task(stop.wait())
    try:
        pending: set[asyncio.Future[Any]] = {*tasks, stopped}
        while not stopped.done():
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        for task in (*tasks, stopped):
            task.cancel()
        await asyncio.gather(*tasks, stopped, return_exceptions=True)


def log_event(event: Event) -> None:
    """What operators want to know of a stream's life; rejections are warnings."""
    node = event.node.id if event.node is not None else ""
    kind = event.type_url.rpartition(".")[2]
    if event.kind == "rejected":
        shown = ", ".join(event.names[:NAMES]) + (" …" if len(event.names) > NAMES else "")
        log.warning(
            "xds.rejected", node=node, type=kind, version=event.version, resources=shown, problem=event.detail.strip()
        )
    elif event.kind in ("opened", "closed"):
        agent = event.node.user_agent if event.node is not None else ""
        log.info(f"xds.{event.kind}", node=node, stream=event.stream, agent=agent, detail=event.detail)
    else:
        log.debug(
            f"xds.{event.kind}",
            node=node,
            type=kind,
            version=event.version,
            nonce=event.nonce,
            resources=len(event.names),
        )
