"""The composition root: wires the catalogue, its sources, delivery and the servers, runs them, and stops them in order."""

import asyncio
import ctypes
import gc
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from functools import partial
from typing import Any

import structlog

from xds_server import __version__
from xds_server.catalog.catalog import Catalog, Delivery
from xds_server.catalog.contents import Contents
from xds_server.catalog.earlier import earlier
from xds_server.catalog.following import follow
from xds_server.catalog.guard import Guard
from xds_server.catalog.reading import FileReading
from xds_server.catalog.readymade import Readymade
from xds_server.catalog.store.store import Store
from xds_server.catalog.store.tokens import StoredTokens
from xds_server.catalog.upkeep import keep_up
from xds_server.delivery.keeping import Keeper
from xds_server.delivery.program import fingerprint
from xds_server.delivery.publisher import Publisher
from xds_server.fleet import Commit, Fleet
from xds_server.management.blame import blame
from xds_server.management.grpc.server import GrpcServer
from xds_server.management.http.app import http_app
from xds_server.management.http.listening import HttpServer
from xds_server.management.service import Management
from xds_server.replicas import Sharing
from xds_server.resolvers.lookup import SystemLookup
from xds_server.security.access import Policy
from xds_server.security.addresses import is_loopback, open_to, refusal
from xds_server.security.authenticator import Authenticator
from xds_server.security.node_names import node_rule
from xds_server.security.tls import Certificates
from xds_server.settings import Settings
from xds_server.workers.manager import Workers
from xds_server.workers.mirror import Mirror
from xds_server.workers.options import Options
from xds_server.xds import AddressInUseError, Event, Limits

NAMES = 10
"""Resource names that one line of the log shows."""
MANY = 1_000
"""Definitions in one change that are worth telling the garbage collector of."""

log = structlog.get_logger("server")


class NotAllowedError(Exception):
    """The server must not listen where and how it was told to. The text is one sentence."""


async def serve(settings: Settings, stop_asked: Callable[[], bool] = lambda: False) -> None:
    """Run the control plane until SIGTERM or SIGINT. Raises AddressInUseError when a port is taken, NotAllowedError for
    what would let everybody in, PemError for certificates that cannot be used, and WorkersError.

    `stop_asked`: whether such a signal has come already, before there were handlers here.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if stop_asked():
        log.info("server.stopped", detail="asked to before it had started")
        return
    if settings.insecure:
        _warn_of_open(settings.xds_address, settings.http_address, settings.grpc_address)
    certificates = _certificates(settings)
    limits = Limits(
        new_streams_per_second=settings.max_new_streams,
        max_connection_age=settings.max_connection_age.total_seconds(),
        drain=settings.drain_time.total_seconds(),
    )
    mirror = Mirror() if settings.workers > 1 else None
    publisher = Publisher(
        SystemLookup(settings.dns_servers),
        identifier=settings.identifier,
        limits=limits,
        secrets=settings.secrets_dir,
        authorize=node_rule(settings, settings.http_address),
        history=lambda key: earlier(catalog, key),
        mirror=mirror,
    )
    publisher.server.subscribe(lambda event: log_event(event, catalog.contents))

    async def deliver(delivery: Delivery) -> None:
        is_first = catalog.delivered < 0
        if is_first:
            keeper.loaded(delivery.made)
        commit = Commit(delivery.revision, None if is_first else delivery.committed)
        await publisher.apply(delivery.change, commit, ready=delivery.made)
        if is_first or len(delivery.change.upstreams) >= MANY:
            # It is there to stay, and nothing in it refers to itself. The collector looked through it for such now and then,
            # and stopped everything for 0.3 to 0.9 s with 10,000 upstreams.
            gc.freeze()
            _give_back_memory()

    async with AsyncExitStack() as opened, AsyncExitStack() as started, AsyncExitStack() as running:
        workers = None
        if mirror is not None:
            options = partial(_worker_options, settings)
            workers = Workers(
                settings.workers,
                mirror,
                publisher,
                options,
                lambda event, worker: log_event(event, catalog.contents, worker=worker),
            )
            opened.push_async_callback(workers.end)
            workers.begin()
        store = Store(settings.store)
        guard = Guard(settings.max_removal)
        readymade = Readymade(store, fingerprint())
        catalog = Catalog(store, deliver, guard=guard, awaits_files=bool(settings.definitions), readymade=readymade)
        opened.callback(catalog.close)
        keeper = Keeper(catalog, readymade)
        publisher.on_served = keeper.served
        opened.push_async_callback(keeper.end)
        tokens = partial(catalog.call, StoredTokens(store.engine).tokens)
        ports = {"--http-address": settings.http_address, "--grpc-address": settings.grpc_address}
        access = {
            option: Authenticator(
                tokens, Policy(settings.client_roles, open_to(settings, address), settings.allowed_hosts)
            )
            for option, address in ports.items()
        }
        has_tokens = bool(await access["--http-address"].tokens())
        if refused := refusal(settings, ports, tokens=has_tokens):
            raise NotAllowedError(refused)
        await _load(catalog)
        if catalog.is_new:
            publisher.serve_unwritten()
        sharing = _sharing(store, publisher.fleet, settings)
        if sharing is not None:
            opened.push_async_callback(sharing.end)
            await sharing.begin()
        files = FileReading(catalog, settings.definitions)
        management = Management(catalog, publisher, settings.secrets_dir)
        tls = certificates.ssl_context() if certificates else None
        http = HttpServer(http_app(management, access["--http-address"]), tls)
        http_address = await _listen(running, "--http-address", settings.http_address, http.start, http.stop)
        require_client = settings.tls_client_ca is not None
        credentials = certificates.grpc_credentials(require_client=require_client) if certificates else None
        if workers is not None:
            served = workers.start, workers.stop
        else:
            served = partial(publisher.server.start, credentials=credentials), publisher.server.stop
        xds_address = await _listen(running, "--xds-address", settings.xds_address, *served)
        credentials = certificates.grpc_credentials(require_client=False) if certificates else None
        grpc = GrpcServer(management, access["--grpc-address"], credentials)
        grpc_address = await _listen(running, "--grpc-address", settings.grpc_address, grpc.start, grpc.stop)
        running.callback(management.events.end)
        started.callback(log.info, "server.stopped")
        running.callback(log.info, "server.stopping")
        addresses = {"xds_address": xds_address, "http_address": http_address, "grpc_address": grpc_address}
        log.info("server.started", version=__version__, **addresses)
        upkeep = keep_up(catalog, keep=settings.keep_revisions, newer_than=timedelta(days=settings.keep_days))
        work = [publisher.resolver.run(), publisher.moments.run(), publisher.secrets.run(), keeper.run()]
        if certificates is not None:
            work.append(certificates.run())
        await _until(stop, catalog.run(), follow(catalog), files.run(), upkeep, *work, _announce(catalog))


async def _load(catalog: Catalog) -> None:
    """Load it without looks for garbage in between, which take as long as the loading."""
    gc.disable()
    try:
        await catalog.load()
    finally:
        gc.freeze()
        gc.enable()


def _give_back_memory() -> None:
    """What many definitions took while they were read and made is free in small pieces, which nobody else can use."""
    with suppress(OSError, AttributeError):  # not every system's C library can
        ctypes.CDLL(None).malloc_trim(0)


def _warn_of_open(*addresses: str) -> None:
    for address in addresses:
        if not is_loopback(address):
            log.warning("server.insecure", address=address, detail="who reaches it may be any node and change anything")


def _sharing(store: Store, fleet: Fleet, settings: Settings) -> Sharing | None:
    """With other replicas, where there may be any. Each has a name that tells where to find it."""
    return Sharing(store.engine, fleet, f"{settings.identifier}/{os.getpid()}") if store.is_shared else None


def _certificates(settings: Settings) -> Certificates | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificates(settings.tls_cert, settings.tls_key, settings.tls_client_ca)


def _worker_options(settings: Settings, number: int, address: str) -> Options:
    """Of the worker with a number, for all of them to listen on an address."""
    return Options(
        number=number,
        address=address,
        identifier=settings.identifier,
        new_streams_per_second=settings.max_new_streams / settings.workers,
        max_connection_age=settings.max_connection_age.total_seconds(),
        drain_time=settings.drain_time.total_seconds(),
        cert=str(settings.tls_cert or ""),
        key=str(settings.tls_key or ""),
        client_ca=str(settings.tls_client_ca or ""),
        node_names=settings.node_names,
        insecure=settings.insecure,
        http_address=settings.http_address,
        log_format=settings.log_format,
        log_level=settings.log_level,
    )


async def _listen(
    running: AsyncExitStack,
    option: str,
    address: str,
    start: Callable[[str], Awaitable[int]],
    stop: Callable[[], Awaitable[None]],
) -> str:
    """Start a server, which `running` stops; returns the address with the port that it has."""
    try:
        port = await start(address)
    except (AddressInUseError, ValueError) as error:
        raise AddressInUseError(f"{error}; choose another one with {option}") from None
    running.push_async_callback(stop)
    return f"{address.rpartition(':')[0]}:{port}"


async def _announce(catalog: Catalog) -> None:
    if catalog.is_new:
        log.info("server.ready", detail="the store is new: nothing is defined yet")
        return
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


def log_event(event: Event, contents: Contents, **about: Any) -> None:
    """What operators want to know of a stream's life; rejections are warnings. `contents`: the definitions in force. `about`:
    said as well, as the worker that the stream is of."""
    told = log.bind(**about) if about else log
    node = event.node.id if event.node is not None else ""
    kind = event.type_url.rpartition(".")[2]
    if event.kind == "rejected":
        told.warning(
            "xds.rejected",
            node=node,
            type=kind,
            version=event.version,
            resources=_shown(event.names),
            likely=", ".join(event.culprits[:NAMES]),
            definitions="; ".join(
                str(each) for each in blame(event.type_url, event.culprits[:NAMES], event.detail, contents)
            ),
            problem=event.detail.strip(),
            applied=event.applied,
        )
    elif event.kind == "refused":
        told.warning("xds.refused", node=node, problem=event.detail)
    elif event.kind == "quarantined":
        told.warning(
            "xds.quarantined", node=node, type=kind, resources=_shown(event.names), problem=event.detail.strip()
        )
    elif event.kind == "released":
        told.info("xds.released", node=node, type=kind, resources=_shown(event.names))
    elif event.kind == "oversized":
        told.warning("xds.oversized", node=node, type=kind, resources=len(event.names), problem=event.detail)
    elif event.kind in ("opened", "closed"):
        agent = event.node.user_agent if event.node is not None else ""
        told.info(f"xds.{event.kind}", node=node, stream=event.stream, agent=agent, detail=event.detail)
    else:
        told.debug(
            f"xds.{event.kind}",
            node=node,
            type=kind,
            version=event.version,
            nonce=event.nonce,
            resources=len(event.names),
        )


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(names[:NAMES]) + (" …" if len(names) > NAMES else "")
