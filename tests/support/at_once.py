"""Requests made at the same time, in the order in which they were answered: what is refused at once comes first."""

from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from xds_server.testing import Answer, request


def at_once(port: int, host: str, n: int, path: str = "/", **more: Any) -> list[Answer]:
    """The answers to `n` requests over connections of their own."""
    with ThreadPoolExecutor(n) as pool:
        asked = [pool.submit(request, port, host, path, **more) for _ in range(n)]
        return [done.result() for done in as_completed(asked)]


def statuses(answers: list[Answer]) -> list[int]:
    """Their statuses, in that order."""
    return [answer.status for answer in answers]
