"""A registry of images on loopback, which an engine asks in plain text: each image is one layer with one file."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry(ThreadingHTTPServer):
    """Has images of these names, `NAME:TAG` each. `address` goes before a name: it ends with a slash."""

    daemon_threads = True

    def __init__(self, *images: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content: dict[str, tuple[str, bytes]] = {}
        """By path: its type, and it."""
        self.asked: list[str] = []
        """Paths of all requests."""
        for image in images:
            self._add(image)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}/"

    def _add(self, image: str) -> None:
        name, _, tag = image.partition(":")
        archive = _archive("image", image.encode())
        layer = gzip.compress(archive, mtime=0)
        made = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [_digest(archive)]}}
        config = json.dumps(made).encode()
        parts = {
            "config": {"mediaType": CONFIG, "size": len(config), "digest": _digest(config)},
            "layers": [{"mediaType": LAYER, "size": len(layer), "digest": _digest(layer)}],
        }
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, **parts}).encode()
        for path, kind, content in (
            (f"manifests/{tag}", MANIFEST, manifest),
            (f"manifests/{_digest(manifest)}", MANIFEST, manifest),
            (f"blobs/{_digest(config)}", CONFIG, config),
            (f"blobs/{_digest(layer)}", LAYER, layer),
        ):
            self.content[f"/v2/{name}/{path}"] = (kind, content)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, name="registry", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Registry  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        found = ("application/json", b"{}") if self.path == "/v2/" else self.server.content.get(self.path)
        kind, content = found or ("application/json", b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "none"}]}')
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if named := re.search(r"sha256:\w+", self.path):
            self.send_header("Docker-Content-Digest", named[0])
        elif kind == MANIFEST:
            self.send_header("Docker-Content-Digest", _digest(content))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing: what was asked is in `asked`."""


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _archive(name: str, content: bytes) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()
