"""The management API of a control plane under test, as far as tests need it."""

import http.client
import json
import time
from abc import ABC
from collections.abc import Mapping
from typing import Any, Final

import yaml

_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.2


class ApiError(Exception):
    """The API answered that it did not do it. The text is what it says."""

    def __init__(self, status: int, body: str) -> None:
        self.status = status
        """The HTTP status."""
        super().__init__(f"{status}: {body}")


class ManagementApi(ABC):
    """The API of one control plane, wherever it runs."""

    http_address: str
    """Where the API is, as seen from here: host:port."""

    def api(self, method: str, path: str, body: Any = None, *, timeout: float = 30) -> Any:
        """The JSON that is answered to one request, `api("GET", "/v1/nodes")` for example.

        Raises ApiError for a status of 400 and above, and OSError when no answer comes within `timeout` seconds.
        """
        connection = http.client.HTTPConnection(self.http_address, timeout=timeout)
        try:
            content = None if body is None else json.dumps(body).encode()
            connection.request(method, path, content, {"Content-Type": "application/json"} if content else {})
            answer = connection.getresponse()
            text = answer.read().decode()
        except http.client.HTTPException as error:
            raise OSError(f"the control plane broke off: {error!r}") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise ApiError(answer.status, text)
        return json.loads(text) if "json" in answer.headers.get("content-type", "") else text

    def apply(self, definitions: str | Mapping[str, Any]) -> int:
        """Add and replace upstreams and gateways, given as data or as the text of a file; returns the revision.

        Raises ApiError when they are refused, or held by the guard (status 202).
        """
        data = yaml.safe_load(definitions) if isinstance(definitions, str) else definitions
        made = self.api("POST", "/v1/apply", data)
        if made.get("held"):
            raise ApiError(202, f"revision {made['revision']} is held, as it removes very much: {made}")
        return int(made["revision"])

    def wait_until_acknowledged(
        self, revision: int, *, nodes: int = 1, share: float = 100, timeout: float = 10
    ) -> dict[str, Any]:
        """Wait until `share` percent of the Envoys that a revision touches have acknowledged it; returns how far it came.

        At least `nodes` must be connected, so that a revision is not acknowledged by nobody: an Envoy that connects
        later is not waited for. Raises TimeoutError that names who did not answer, and at once RuntimeError with the words
        of who rejected it.
        """
        deadline, pause = time.monotonic() + timeout, _FIRST_PAUSE
        while True:
            connected = sum(node["connected"] for node in self.api("GET", "/v1/nodes")["nodes"])
            progress: dict[str, Any] = self.api("GET", f"/v1/revisions/{revision}")["delivery"] or {}
            if rejected := progress.get("rejected"):
                raise RuntimeError(f"revision {revision} was rejected: {_who(rejected)}")
            if connected >= nodes and _reached(progress, share):
                return progress
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"revision {revision} was not acknowledged by {share:g} % within {timeout:g} s: "
                    f"{connected} connected, {progress}"
                )
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _reached(progress: Mapping[str, Any], share: float) -> bool:
    if not progress.get("published") or progress.get("awaited_replicas"):
        return False  # not served yet, here or by another replica that lives
    return bool(progress["acknowledged"] * 100 >= progress["affected"] * share)


def _who(rejected: list[dict[str, Any]]) -> str:
    return "; ".join(f"{each['node']}: {each['detail']}" for each in rejected)
