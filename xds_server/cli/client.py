"""One request to a running server, one answer; every failure is a sentence."""

import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

from xds_server.cli.errors import fail
from xds_server.cli.problems import refusal

TIMEOUT: Final = 30.0
"""Seconds that the server may be silent."""
PAGE: Final = 1000
"""Entries that are asked for at once."""
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class Client:
    """The HTTP API of the server at a URL. Every method raises CommandError, with a sentence for the user.

    `token`: sent as a bearer token. `ca`: who signed the server's certificate; None: whom this machine trusts. `cert`,
    `key`: what is shown to it. `timeout`: seconds that it may be silent.
    """

    def __init__(
        self,
        server: str,
        *,
        token: str | None = None,
        ca: Path | None = None,
        cert: Path | None = None,
        key: Path | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        import httpx  # late, as it takes a tenth of a second that `--help` need not pay

        self.url = _url(server)
        self.now = datetime.now(UTC)
        """The time on the server, as of its last answer: clocks may differ, and deadlines are judged by the server's."""
        self._has_token = token is not None
        self._timeout = timeout
        verify = _trust(ca, cert, key) if self.url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # As curl does, through the proxy that the environment names; but never to this machine itself.
        through_proxy = urlsplit(self.url).hostname not in LOOPBACK
        try:
            self._http = httpx.Client(
                verify=verify, trust_env=through_proxy, headers=_headers(token), timeout=timeout, follow_redirects=False
            )
        except ValueError as error:
            fail(f"the proxy that the environment names cannot be used: {error}")

    def get(self, *path: str, **query: Any) -> Any:
        """What is at a path below ``/v1``, each part of which may hold any character."""
        return self.send("GET", *path, query=query)

    def pages(self, field: str, *path: str, **query: Any) -> Iterator[Any]:
        """The answers of all pages of a list, each with some entries in `field`."""
        after = ""
        while True:
            page = self.get(*path, limit=PAGE, after=after, **query)
            yield page
            after = page.get("next")
            if not after or not page.get(field):
                return

    def send(
        self, method: str, *path: str, body: Any = None, query: dict[str, Any] | None = None, patience: float = 0
    ) -> Any:
        """Have something done. `patience`: seconds that the server was asked to wait before it answers."""
        import httpx

        url = f"{self.url}/v1/{'/'.join(map(_part, path))}"
        given = {name: _text(value) for name, value in (query or {}).items() if value not in (None, "", False)}
        content = json.dumps(body, ensure_ascii=False).encode() if body is not None else None
        timeout = httpx.Timeout(self._timeout, read=self._timeout + patience)
        headers = {"Content-Type": "application/json"} if content is not None else {}
        try:
            answer = self._http.request(method, url, params=given, content=content, headers=headers, timeout=timeout)
        except httpx.TransportError as error:
            fail(_unreachable(self.url, error, method))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            fail(f"cannot ask {self.url}: {error}")
        self.now = _time(answer.headers.get("date")) or datetime.now(UTC)
        if not answer.is_success:
            raise refusal(url, answer.status_code, answer.text, with_token=self._has_token)
        try:
            return answer.json()
        except ValueError:
            raise refusal(url, answer.status_code, answer.text, with_token=self._has_token) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()


def _url(server: str) -> str:
    url = server.strip()
    if "://" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        fail(f"--server {server!r} is not the address of a server: write http://127.0.0.1:18080")
    return url.rstrip("/")


def _part(part: str) -> str:
    # Such parts would be taken for other paths: DELETE of the target `..` for that of its upstream.
    if part in ("", ".", ".."):
        fail(f"{part!r} is not a name")
    return quote(part, safe="")


def _text(value: Any) -> Any:
    return "true" if value is True else value


def _headers(token: str | None) -> dict[str, str]:
    headers = {"Accept": "application/json", "User-Agent": "xds-server"}
    if token is not None:
        token = token.strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            fail("the token holds characters that no token has: was another text copied?")
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _trust(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    if key is not None and cert is None:
        fail("--key is the key of a certificate: give --cert as well")
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        fail(f"--ca {ca} cannot be used: {_why(error)}")
    if cert is not None:
        try:
            context.load_cert_chain(cert, key)
        except OSError as error:
            fail(f"--cert {cert} and its key cannot be used: {_why(error)}")
    return context


def _why(error: OSError) -> str:
    """Without the number of the error, and the line of its source."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    return error.strerror or str(error)


def _unreachable(url: str, error: Exception, method: str) -> str:
    """What kept a request from being answered; of one that changes something, that this may have happened."""
    import httpx

    unsure = "" if method == "GET" else "; whether it was done is shown by `xds-server history`"
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return f"cannot reach {url}: no answer to the attempt to connect"
    if isinstance(error, httpx.TimeoutException):
        return f"{url} has not answered in time{unsure}"
    causes = [*_causes(error)]
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"cannot trust {url}: {cause.verify_message}; --ca FILE names who signed its certificate"
        if isinstance(cause, ssl.SSLError):
            return f"cannot speak TLS with {url}: {_why(cause)}; does it, or is it http://?"
    if isinstance(error, httpx.ConnectError):
        why = next((_why(cause) for cause in causes if isinstance(cause, OSError)), str(error))
        return f"cannot reach {url}: {why}; does it run? --server or XDS_SERVER_URL name another one"
    tls = "; does it speak TLS, as https://?" if url.startswith("http://") else ""
    return f"{url} broke the connection off: {error}{tls}{unsure}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _time(header: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(header).astimezone(UTC) if header else None
    except ValueError:
        return None
