"""TLS of gRPC and HTTP ports: who is let in, and what happens when the files change."""

import asyncio
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import structlog
from certificates import Authority, Pair, replace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from xds_server.management.http.listening import HttpServer, certificate_of
from xds_server.pem_files import PemError
from xds_server.security.tls import Certificates, certificate_names

MESH = Path(__file__).parents[1] / "envoy" / "certs" / "mesh"


@dataclass
class Files:
    """A server's files, and a client of the authority that it believes."""

    authority: Authority
    clients: Authority
    server: Pair
    client_ca: Path
    client: Pair

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority.pem.decode())

    def as_client(self, pair: Pair | None = None) -> ssl.SSLContext:
        context = self.trust
        context.load_cert_chain(*(pair or self.client))
        return context

    def certificates(self, *, clients: bool = True) -> Certificates:
        return Certificates(*self.server, self.client_ca if clients else None)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    authority, clients = Authority(), Authority()
    return Files(
        authority,
        clients,
        authority.issue(tmp_path / "server", "localhost", "127.0.0.1"),
        clients.write(tmp_path / "clients.pem"),
        clients.issue(tmp_path / "client", "edge-1", "10.0.0.1"),
    )


async def shown(port: int, context: ssl.SSLContext, name: str = "localhost") -> str:
    """Serial number of the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    try:
        return str(writer.get_extra_info("peercert")["serialNumber"])
    finally:
        writer.close()


async def is_let_in(port: int, context: ssl.SSLContext) -> bool:
    """Whether a connection gets as far as an answer to an HTTP request. TLS 1.3 refuses after the handshake."""
    try:
        async with httpx.AsyncClient(verify=context) as http:
            await http.get(f"https://localhost:{port}/")
    except (httpx.TransportError, ssl.SSLError):
        return False
    return True


# HTTP


@asynccontextmanager
async def http_port(certificates: Certificates) -> AsyncIterator[int]:
    async def who(request: Request) -> JSONResponse:
        return JSONResponse(certificate_of(request.scope))

    server = HttpServer(Starlette(routes=[Route("/", who)]), certificates.ssl_context())
    port = await server.start("127.0.0.1:0")
    try:
        yield port
    finally:
        await server.stop()


async def test_http_clients_may_show_a_certificate(files: Files) -> None:
    async with http_port(files.certificates()) as port:
        url = f"https://localhost:{port}/"
        async with httpx.AsyncClient(verify=files.trust) as nobody, httpx.AsyncClient(verify=files.as_client()) as edge:
            assert (await nobody.get(url)).json() is None
            assert (await edge.get(url)).json() == ["edge-1"], "names; addresses are none"
            assert (await nobody.get(url)).json() is None, "a connection's own"


async def test_http_clients_of_other_authorities_are_refused(files: Files, tmp_path: Path) -> None:
    stranger = Authority().issue(tmp_path / "stranger", "edge-1")
    async with http_port(files.certificates()) as port:
        assert not await is_let_in(port, files.as_client(stranger))
        assert await is_let_in(port, files.as_client())
    async with (
        http_port(files.certificates(clients=False)) as port,
        httpx.AsyncClient(verify=files.as_client()) as edge,
    ):
        assert (await edge.get(f"https://localhost:{port}/")).json() is None, "nobody asked for one"


async def test_http_shows_the_new_certificate_and_open_connections_go_on(files: Files) -> None:
    certificates = files.certificates()
    async with http_port(certificates) as port, httpx.AsyncClient(verify=files.trust) as open_one:
        assert (await open_one.get(f"https://localhost:{port}/")).status_code == 200
        before = await shown(port, files.trust)
        assert await shown(port, files.trust, "127.0.0.1") == before
        files.authority.issue(files.server.cert, "localhost", "127.0.0.1")
        assert await shown(port, files.trust) == before, "nobody has looked yet"
        certificates.look()
        after = await shown(port, files.trust)
        assert after != before
        assert await shown(port, files.trust, "127.0.0.1") == after, "also for clients that name no server"
        assert (await open_one.get(f"https://localhost:{port}/")).status_code == 200
        connections = open_one._transport._pool.connections  # type: ignore[attr-defined]
        assert [connection._connection._request_count for connection in connections] == [2], "the same connection"


async def test_http_believes_the_new_authorities_alone(files: Files, tmp_path: Path) -> None:
    certificates, others = files.certificates(), Authority()
    theirs = others.issue(tmp_path / "theirs", "edge-9")
    known = files.as_client()
    async with http_port(certificates) as port:
        assert await is_let_in(port, known)
        others.write(files.client_ca)
        certificates.look()
        assert not await is_let_in(port, known)
        assert not await is_let_in(port, files.as_client())
        assert await is_let_in(port, files.as_client(theirs))


def _ask(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSession | None:
    """Ask something, in a session that goes on where there is one; returns that session. Raises OSError when refused."""
    with (
        socket.create_connection(("127.0.0.1", port)) as raw,
        context.wrap_socket(raw, server_hostname="localhost", session=session) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        answer = b""
        while part := connection.recv(4096):
            answer += part
        if b"edge-1" not in answer:
            raise ConnectionError("no answer")
        assert connection.session_reused == (session is not None)
        return connection.session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_no_session_outlives_the_authority_that_let_it_in(files: Files, version: ssl.TLSVersion) -> None:
    certificates, client = files.certificates(), files.as_client()
    client.maximum_version = version
    async with http_port(certificates) as port:
        session = await asyncio.to_thread(_ask, port, client)
        assert await asyncio.to_thread(_ask, port, client, session), "it goes on while its authority is there"
        Authority().write(files.client_ca)
        certificates.look()
        with pytest.raises(OSError, match=r".+"):
            await asyncio.to_thread(_ask, port, client, session)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("kind", ["http", "grpc"])
async def test_tls_1_2_is_the_oldest_that_is_spoken(files: Files, version: ssl.TLSVersion, kind: str) -> None:
    context = files.trust
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2", "http/1.1"])
    certificates = files.certificates(clients=False)
    async with http_port(certificates) if kind == "http" else grpc_port(certificates, require_client=False) as port:
        if version is ssl.TLSVersion.TLSv1_1:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await shown(port, context)
        else:
            assert await shown(port, context)


# gRPC


@asynccontextmanager
async def grpc_port(certificates: Certificates, *, require_client: bool = True) -> AsyncIterator[int]:
    server = grpc.aio.server()

    async def echo(requests: Any, _: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    handlers = {"Echo": grpc.stream_stream_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test", handlers)])
    port = server.add_secure_port("127.0.0.1:0", certificates.grpc_credentials(require_client=require_client))
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


async def echoes(port: int, files: Files, client: Pair | None) -> bool:
    cert, key = client.content() if client is not None else (None, None)
    credentials = grpc.ssl_channel_credentials(files.authority.pem, key, cert)
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        call = channel.stream_stream("/test/Echo")()
        try:
            await call.write(b"x")
            return bool(await call.read() == b"x")
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return False


async def test_grpc_clients_must_show_a_certificate_where_they_are_told_to(files: Files, tmp_path: Path) -> None:
    stranger = Authority().issue(tmp_path / "stranger", "edge-1")
    async with grpc_port(files.certificates()) as port:
        assert await echoes(port, files, files.client)
        assert not await echoes(port, files, None)
        assert not await echoes(port, files, stranger)
    async with grpc_port(files.certificates(), require_client=False) as port:
        assert await echoes(port, files, None)


async def test_grpc_shows_the_new_certificate_and_open_streams_go_on(files: Files, tmp_path: Path) -> None:
    certificates, others = files.certificates(), Authority()
    cert, key = files.client.content()
    credentials = grpc.ssl_channel_credentials(files.authority.pem, key, cert)
    client = files.as_client()
    client.set_alpn_protocols(["h2"])
    async with grpc_port(certificates) as port, grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        call = channel.stream_stream("/test/Echo")()
        await call.write(b"before")
        assert await call.read() == b"before"
        before = await shown(port, client)
        files.authority.issue(files.server.cert, "localhost", "127.0.0.1")
        others.write(files.client_ca)
        assert await shown(port, client) == before, "nobody has looked yet"
        certificates.look()
        assert await shown(port, client) != before
        assert not await echoes(port, files, files.client), "its authority is gone"
        assert await echoes(port, files, others.issue(tmp_path / "theirs", "edge-9"))
        await call.write(b"after")
        assert await call.read() == b"after"


async def test_each_port_learns_of_a_change(files: Files) -> None:
    certificates = files.certificates(clients=False)
    context = files.trust
    context.set_alpn_protocols(["h2"])
    async with (
        grpc_port(certificates, require_client=False) as one,
        grpc_port(certificates, require_client=False) as two,
    ):
        before = {await shown(one, context), await shown(two, context)}
        assert len(before) == 1
        files.authority.issue(files.server.cert, "localhost")
        certificates.look()
        after = {await shown(one, context), await shown(two, context)}
        assert len(after) == 1
        assert after != before


# Files


async def test_files_are_looked_at_while_the_server_runs(files: Files) -> None:
    certificates = files.certificates()
    running = asyncio.create_task(certificates.run())
    async with http_port(certificates) as port:
        before = await shown(port, files.trust)
        files.authority.issue(files.server.cert, "localhost")
        async with asyncio.timeout(10):
            while await shown(port, files.trust) == before:
                await asyncio.sleep(0.05)
    running.cancel()


def break_it(files: Files, how: str) -> None:
    if how == "key":
        replace(files.server.key, files.client.key.read_bytes())
    elif how == "cert":
        replace(files.server.cert, b"nothing")
    elif how == "gone":
        files.server.cert.unlink()
    else:
        replace(files.client_ca, files.server.key.read_bytes())


@pytest.mark.parametrize("how", ["key", "cert", "gone", "ca"])
async def test_a_broken_file_is_told_once_and_the_last_good_ones_serve(files: Files, how: str) -> None:
    certificates = files.certificates()
    sound = {path: path.read_bytes() for path in (*files.server, files.client_ca)}
    async with http_port(certificates) as port, grpc_port(certificates) as other:
        before = await shown(port, files.trust)
        break_it(files, how)
        with structlog.testing.capture_logs() as logged:
            for _ in range(4):
                certificates.look()
        assert [line["event"] for line in logged] == ["tls.broken"]
        (line,) = logged
        assert (line["log_level"], line["last_good_serves"]) == ("error", True)
        assert "PRIVATE KEY" not in str(line)
        assert "BEGIN" not in str(line)
        assert await shown(port, files.trust) == before
        assert await is_let_in(port, files.as_client())
        assert await echoes(other, files, files.client)
        for path, content in sound.items():
            replace(path, content)
        with structlog.testing.capture_logs() as logged:
            for _ in range(3):
                certificates.look()
        assert [line["event"] for line in logged] == ["tls.mended"]
        assert await shown(port, files.trust) == before


def test_what_is_wrong_for_a_moment_is_not_worth_a_word(files: Files, tmp_path: Path) -> None:
    """A key and its certificate are two files: whoever replaces them makes a pair that does not match, for a moment."""
    certificates = files.certificates()
    new = files.authority.issue(tmp_path / "new", "localhost")
    with structlog.testing.capture_logs() as logged:
        replace(files.server.key, new.key.read_bytes())
        certificates.look()
        replace(files.server.cert, new.cert.read_bytes())
        certificates.look()
        certificates.look()
    assert [line["event"] for line in logged] == ["tls.reloaded"]


@pytest.mark.parametrize("how", ["key", "cert", "gone", "ca"])
def test_files_that_are_broken_at_start_are_an_error(files: Files, how: str) -> None:
    break_it(files, how)
    with pytest.raises(PemError) as error:
        files.certificates()
    assert str(files.server.cert.parent) in str(error.value)
    assert "PRIVATE" not in str(error.value)


def test_a_key_is_in_nothing_that_is_shown(files: Files) -> None:
    certificates = files.certificates()
    secret = files.server.key.read_text().splitlines()[1]
    assert secret not in repr(certificates._held)
    assert secret not in repr(vars(certificates))


def test_names_are_dns_names_and_uris() -> None:
    decoded = {"subjectAltName": (("DNS", "a"), ("IP Address", "10.0.0.1"), ("URI", "spiffe://x/a"), ("email", "a@b"))}
    assert certificate_names(decoded) == ("a", "spiffe://x/a")
    assert certificate_names({"subject": ()}) == ()
    assert certificate_names({}) is None, "what getpeercert gives for one that was not verified"
    assert certificate_names(None) is None
