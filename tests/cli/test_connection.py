"""How commands reach a server, and what they say when they do not."""

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from command_line import CommandLine
from fake_api import fake_api

from xds_server.cli.client import Client
from xds_server.cli.errors import CommandError
from xds_server.testing.server import XdsServerProcess

Commands = Callable[..., CommandLine]
HISTORY = "/v1/revisions"
NOTHING = {HISTORY: {"revisions": [], "next": None}}


def test_where_the_server_is(server: XdsServerProcess, command_line: Commands) -> None:
    host = server.http_address
    nowhere = command_line("127.0.0.1:1")
    assert nowhere.refused("history") == (
        "cannot reach http://127.0.0.1:1: Connection refused; does it run? --server or XDS_SERVER_URL name another one"
    )
    for url in (host, f"http://{host}", f"http://{host}/", f" {host}"):
        nowhere.ok("history", "--server", url)
    for url in ("", "ftp://a", "http://", "http://a:x", "http://a?b", "http://[::1"):
        assert f"--server {url!r} is not the address of a server" in nowhere.refused("history", "--server", url)
    assert "cannot reach http://nowhere.invalid: " in nowhere.refused("history", "--server", "nowhere.invalid")


def test_this_machine_is_not_reached_through_a_proxy(server: XdsServerProcess, command_line: Commands) -> None:
    proxy = {"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"}
    command_line(server.http_address, **proxy).ok("history")
    said = command_line("192.0.2.1:80", **proxy).refused("history")
    assert "Connection refused" in said, "others are"


def test_what_answers_is_no_xds_server(command_line: Commands) -> None:
    answers = (
        (404, "<html>Not\nhere\x1b[2J</html>"),
        (200, "<html>Hello</html>"),
        (302, ""),
        (500, '["detail"]'),
        (500, "[" * 100_000),
    )
    for status, text in answers:
        with fake_api({HISTORY: (status, text)}) as fake:
            said = command_line(fake.address).refused("history")
            assert said.startswith(f"http://{fake.address}{HISTORY} answered {status}")
            assert said.endswith(": is an xds-server there?")
            assert "\x1b" not in said
            assert len(said) < 500


def test_problems_are_told_with_every_field(command_line: Commands) -> None:
    one, two = {"pointer": "/a", "detail": "x"}, {"pointer": "", "detail": "y\x1b[0m"}
    with fake_api({}) as fake:
        cli = command_line(fake.address)
        for errors, said in (
            ([], "All wrong"),
            ([one], "All wrong (at /a)"),
            ([two], "All wrong"),
            ([one, two], "Title:\n  /a: x\n  /: y\\x1b[0m"),
        ):
            problem = {"title": "Title", "detail": "All wrong", "errors": errors}
            fake.answers[HISTORY] = (422, json.dumps(problem))
            assert cli.refused("history") == said


def test_the_token_is_sent_and_never_told(command_line: Commands) -> None:
    with fake_api(NOTHING) as fake:
        cli = command_line(fake.address)
        cli.ok("history")
        assert "authorization" not in fake.asked[-1].headers
        cli.ok("history", "--token", " secret-1\n")
        assert fake.asked[-1].headers["authorization"] == "Bearer secret-1"
        command_line(fake.address, XDS_SERVER_TOKEN="secret-2").ok("history")
        assert fake.asked[-1].headers["authorization"] == "Bearer secret-2"
        asked = len(fake.asked)
        for wrong in ("geheimniß", "two words", " ", "a\nb: c"):
            assert cli.refused("history", "--token", wrong).startswith("the token holds characters")
        assert len(fake.asked) == asked
        fake.answers[HISTORY] = (401, '{"detail": "no token was given"}')
        assert cli.refused("history") == "no token was given; give a token with --token or XDS_SERVER_TOKEN"
        fake.answers[HISTORY] = (401, '{"detail": "this token is unknown"}')
        assert cli.refused("history", "--token", "secret-3") == "this token is unknown"


def test_tls(command_line: Commands, tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    ca, other_ca, mine = tmp_path / "ca.pem", tmp_path / "other.pem", tmp_path / "mine.pem"
    authority.cert_pem.write_to_path(str(ca))
    other.cert_pem.write_to_path(str(other_ca))
    authority.issue_cert("me.internal").private_key_and_cert_chain_pem.write_to_path(str(mine))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with fake_api(NOTHING, context) as fake:
        url = f"https://{fake.address}"
        cli = command_line(fake.address, XDS_SERVER_URL=url)
        cli.ok("history", "--ca", ca)
        command_line(fake.address, XDS_SERVER_URL=url, XDS_SERVER_CA=str(ca)).ok("history")
        for untrusted in ((), ("--ca", other_ca)):
            said = cli.refused("history", *untrusted)
            assert said.startswith(f"cannot trust {url}: ")
            assert said.endswith("; --ca FILE names who signed its certificate")
        said = cli.refused("history", "--server", f"http://{fake.address}")
        assert "broke the connection off" in said
        assert "does it speak TLS, as https://?" in said
        for file, why in ((tmp_path / "none.pem", "No such file"), (Path(__file__), "no certificate")):
            said = cli.refused("history", "--ca", file)
            assert said.startswith(f"--ca {file} cannot be used: ")
            assert why in said
            assert f"--cert {file} and its key cannot be used" in cli.refused("history", "--ca", ca, "--cert", file)
        assert "give --cert as well" in cli.refused("history", "--ca", ca, "--key", mine)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(str(ca))
        cli.ok("history", "--ca", ca, "--cert", mine)
        assert url in cli.refused("history", "--ca", ca)
    with fake_api(NOTHING) as plain:
        said = command_line(plain.address).refused("history", "--server", f"https://{plain.address}")
        assert said.startswith(f"cannot speak TLS with https://{plain.address}: ")


@contextmanager
def silent(*, hangs_up: bool) -> Iterator[str]:
    """A server that reads a request and does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held = []

        def accept() -> None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.recv(65_536)
            if hangs_up:
                connection.close()
            else:
                held.append(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()
        for connection in held:
            connection.close()


def test_a_change_without_an_answer_may_have_been_made() -> None:
    for hangs_up, said in ((True, "broke the connection off"), (False, "has not answered in time")):
        for method, unsure in (("GET", False), ("POST", True)):
            with silent(hangs_up=hangs_up) as url, Client(url, timeout=0.3) as client:
                with pytest.raises(CommandError, match=said) as raised:
                    client.send(method, "apply", body={})
                assert ("`xds-server history`" in str(raised.value)) == unsure


def test_a_server_is_given_the_time_that_it_was_asked_to_wait() -> None:
    with silent(hangs_up=False) as url, Client(url, timeout=0.05) as client:
        begin = time.monotonic()
        with pytest.raises(CommandError, match="has not answered in time"):
            client.send("POST", "apply", body={}, patience=0.5)
        assert time.monotonic() - begin >= 0.5


def test_names_may_hold_anything() -> None:
    with fake_api({}) as fake, Client(fake.address) as client:
        for name in ("a/b", "ü", "[::1]:80", "a%2Fb", "?x#y", "a b"):
            with pytest.raises(CommandError, match="Not Found"):
                client.get("upstreams", name, query="&=")
            path = fake.asked[-1].path
            assert path.count("/") == 3
            assert path.endswith("?query=%26%3D")


def test_help_does_not_load_what_only_requests_need() -> None:
    code = (
        "import sys, xds_server.cli.commands\n"
        "sys.exit(str({'httpx', 'grpc', 'sqlalchemy', 'fastapi', 'envoy', 'rich.table'} & {*sys.modules} or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.strip() == ""
