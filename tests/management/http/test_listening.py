"""The HTTP port tells of life and readiness, polls xDS, and ends cleanly."""

import asyncio
from pathlib import Path

import httpx
import pytest

from xds_server.catalog.catalog import Catalog, Delivery
from xds_server.catalog.store.store import Store
from xds_server.delivery.publisher import Publisher
from xds_server.management.http.app import http_app
from xds_server.management.http.listening import HttpServer
from xds_server.management.service import Management
from xds_server.xds import AddressInUseError


async def test_the_port_tells_of_life_and_readiness_and_ends_cleanly(tmp_path: Path) -> None:
    publisher = Publisher()

    async def deliver(delivery: Delivery) -> None:
        await publisher.apply(delivery.change)

    catalog = Catalog(Store(f"sqlite:///{tmp_path}/store.db"), deliver)
    await catalog.load()
    app = http_app(Management(catalog, publisher))
    server = HttpServer(app)
    port = await server.start("127.0.0.1:0")
    await publisher.server.start()
    delivering = asyncio.create_task(catalog.run())
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.put("/v1/upstreams/a", json={})).status_code == 201
        await catalog.until_delivered(1)
        assert (await http.get("/readyz")).json() == {"status": "ready", "writable": True}
        polled = await http.post("/v3/discovery:clusters", json={"node": {"id": "n"}})
        assert [one["name"] for one in polled.json()["resources"]] == ["a"]
        with pytest.raises(AddressInUseError, match=f"cannot listen on 127.0.0.1:{port}"):
            await HttpServer(app).start(f"127.0.0.1:{port}")
        await publisher.server.stop(0)
        assert (await http.get("/readyz")).status_code == 503
    await server.stop()
    delivering.cancel()
    catalog.close()
    with pytest.raises(OSError, match=r"refused|failed"):
        await asyncio.open_connection("127.0.0.1", port)


async def test_answers_over_one_connection_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Without TCP_NODELAY each but the first takes 40 ms, until the client's delayed acknowledgement."""
    publisher = Publisher()
    catalog = Catalog(Store(f"sqlite:///{tmp_path}/store.db"), lambda _: asyncio.sleep(0))
    server = HttpServer(http_app(Management(catalog, publisher)))
    port = await server.start("127.0.0.1:0")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        times = [(await http.get("/healthz")).elapsed.total_seconds() for _ in range(30)]
    await server.stop()
    catalog.close()
    assert sorted(times)[len(times) // 2] < 0.03
