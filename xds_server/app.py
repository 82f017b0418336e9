"""The composition root: wires the catalogue, its sources, delivery and the servers, runs them, and stops them in order."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import structlog

from xds_server import __version__
from xds_server.catalog.catalog import Catalog, Delivery
from xds_server.catalog.file_records import FileRecords
from xds_server.catalog.files import FileSource
from xds_server.catalog.guard import Guard
from xds_server.catalog.store.store import Store
from xds_server.catalog.upkeep import keep_up
from xds_server.delivery.publisher import Publisher
from xds_server.management.http.app import http_app
from xds_server.management.http.listening import HttpServer
from xds_server.management.service import Management
from xds_server.resolvers.lookup import SystemLookup
from xds_server.settings import Settings
from xds_server.xds import AddressInUseError, DiscoveryServer, Event, Limits

NAMES = 10
"""Resource names that one line of the log shows."""

log = structlog.get_logger("server")


async def serve(settings: Settings, stop_asked: Callable[[], bool] = lambda: False) -> None:
    """Run the control plane until SIGTERM or SIGINT. Raises AddressInUseError when a port is taken.

    `stop_asked`: whether such a signal has come already, before there were handlers here.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if stop_asked():
        log.info("server.stopped", detail="asked to before it had started")
        return
    limits = Limits(
        new_streams_per_second=settings.max_new_streams,
        max_connection_age=settings.max_connection_age.total_seconds(),
        drain=settings.drain_time.total_seconds(),
    )
    publisher = Publisher(
        SystemLookup(settings.dns_servers), identifier=settings.identifier, limits=limits, secrets=settings.secrets_dir
    )
    publisher.server.subscribe(log_event)

    async def deliver(delivery: Delivery) -> None:
        await publisher.apply(delivery.change)
        await files.retry()

    async with AsyncExitStack() as opened, AsyncExitStack() as started, AsyncExitStack() as running:
        catalog = Catalog(Store(settings.store), deliver, guard=Guard(settings.max_removal))
        opened.callback(catalog.close)
        await catalog.load()
        files = FileRecords(catalog, settings.definitions)
        source = FileSource(settings.definitions, files.take, files.held())
        if catalog.head or not settings.definitions:
            catalog.begin()
        http = HttpServer(http_app(Management(catalog, publisher, settings.secrets_dir)))
        http_address = await _listen(running, "--http-address", settings.http_address, http)
        xds_address = await _listen(running, "--xds-address", settings.xds_address, publisher.server)
        started.callback(log.info, "server.stopped")
        running.callback(log.info, "server.stopping")
        log.info("server.started", version=__version__, xds_address=xds_address, http_address=http_address)
        upkeep = keep_up(catalog, keep=settings.keep_revisions, newer_than=timedelta(days=settings.keep_days))
        sources = [source.run()] if settings.definitions else []
        work = (publisher.resolver.run(), publisher.moments.run(), publisher.secrets.run())
        await _until(stop, catalog.run(), upkeep, *sources, *work, _announce(catalog))


async def _listen(running: AsyncExitStack, option: str, address: str, server: DiscoveryServer | HttpServer) -> str:
    """Start `server`, which `running` stops; returns the address with the port that it has."""
    try:
        port = await server.start(address)
    except (AddressInUseError, ValueError) as error:
        raise AddressInUseError(f"{error}; choose another one with {option}") from None
    running.push_async_callback(server.stop)
    return f"{address.rpartition(':')[0]}:{port}"


async def _announce(catalog: Catalog) -> None:
    await catalog.until_delivered(0)
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
            "xds.rejected",
            node=node,
            type=kind,
            version=event.version,
            resources=shown,
            likely=", ".join(event.culprits[:NAMES]),
            problem=event.detail.strip(),
            applied=event.applied,
        )
    elif event.kind == "oversized":
        log.warning("xds.oversized", node=node, type=kind, resources=len(event.names), problem=event.detail)
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
