"""The store: what it holds, what it tells of, and what it forgets."""

import asyncio
import os
import shutil
from pathlib import Path

import structlog

from xds_server.secrets.store import Key, SecretStore

MESH = Path(__file__).parents[1] / "envoy" / "certs" / "mesh"
KEY: Key = ("ca", "s")


def put(directory: Path, content: bytes) -> None:
    (directory / "s").mkdir(exist_ok=True)
    (directory / "s" / "new").write_bytes(content)
    os.replace(directory / "s" / "new", directory / "s" / "ca.crt")


async def test_without_a_directory_every_secret_is_missing() -> None:
    store = SecretStore(None, lambda keys: asyncio.sleep(0))
    await store.add([KEY])
    assert store.held == {}
    assert "no --secrets-dir" in store.problem(KEY)


async def test_it_follows_its_files(tmp_path: Path) -> None:
    changes: asyncio.Queue[frozenset[Key]] = asyncio.Queue()
    store = SecretStore(tmp_path, changes.put)
    ca, other = (MESH / "ca.pem").read_bytes(), (MESH.parent / "other-ca.pem").read_bytes()
    with structlog.testing.capture_logs() as logs:
        await store.add([KEY])
        assert "No such file" in store.problem(KEY)
        running = asyncio.create_task(store.run())
        try:
            async with asyncio.timeout(30):
                put(tmp_path, ca)
                assert await changes.get() == {KEY}
                assert store.held[KEY] == (ca,)
                put(tmp_path, b"broken")
                while not [log for log in logs if log["event"] == "secret.broken"]:
                    await asyncio.sleep(0.02)
                assert store.problem(KEY) == "", "the last good content is there"
                assert store.held[KEY] == (ca,)
                put(tmp_path, other)
                assert await changes.get() == {KEY}
                assert store.held[KEY] == (other,)
        finally:
            running.cancel()
    assert [log["event"] for log in logs] == ["secret.broken", "secret.mended"], "each told once"
    store.drop([KEY])
    assert store.held == {}
    shutil.rmtree(tmp_path / "s")
    await store.add([KEY])
    assert "No such file" in store.problem(KEY)
