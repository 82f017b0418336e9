"""What shells complete from a running server: names, where it answers at once. Pure silence where it does not."""

import os
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final

import typer

from xds_server.cli.client import Client
from xds_server.cli.connection import DEFAULT, TOKEN, URL
from xds_server.cli.errors import CommandError

PATIENCE: Final = 0.3
"""Seconds: whoever presses TAB waits for it."""
MOST: Final = 100
"""Names that are asked for."""
INSTRUCTION: Final = "_XDS_SERVER_COMPLETE"
"""The variable by which a shell asks for completions."""
BREAKS: Final = ":="
"""Characters at which bash breaks words that are none for us."""

_before: list[str] = []
"""What stands before a break in the word that is completed in bash, which must not be repeated."""


def upstream_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Upstreams that begin so."""
    return _ask(ctx, lambda client: _names(client.get("upstreams", prefix=incomplete, limit=MOST)["upstreams"]))


def gateway_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Gateways that begin so."""
    return _ask(ctx, lambda client: _names(client.get("gateways", prefix=incomplete, limit=MOST)["gateways"]))


def node_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Nodes."""
    return _ask(ctx, lambda client: [str(node["id"]) for node in client.get("nodes", limit=1000)["nodes"]])


def target_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Targets of the upstream that stands before."""
    upstream = str(ctx.params.get("upstream") or "")
    found = _ask(ctx, lambda client: [one["target"] for one in client.get("upstreams", upstream, "targets")["targets"]])
    before = _before[0] if _before else ""
    return [each.removeprefix(before) for each in found if each.startswith(before)]


def revision_numbers(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The newest revisions, with what they were made for."""

    def read(client: Client) -> list[tuple[str, str]]:
        found = client.get("revisions", limit=MOST)["revisions"]
        return [(str(one["revision"]), " ".join(str(one["message"]).split())) for one in found]

    return _ask(ctx, read)


def _names(found: list[Mapping[str, Any]]) -> list[str]:
    return [one["name"] for one in found]


def _ask(ctx: typer.Context, read: Callable[[Client], list[Any]]) -> list[Any]:
    given = ctx.params
    server = given.get("server") or os.environ.get(URL) or DEFAULT
    token = given.get("token") or os.environ.get(TOKEN)
    files = {name: given.get(name) for name in ("ca", "cert", "key")}
    try:
        with Client(server, token=token, timeout=PATIENCE, **files) as client:
            return read(client)
    except (CommandError, OSError, KeyError, TypeError):
        return []


def mend_words(environment: MutableMapping[str, str]) -> None:
    """When bash asks: give it words as we know them, as `127.0.0.1:8080` are three to bash."""
    if environment.get(INSTRUCTION) == "complete_bash" and environment.get("COMP_CWORD", "").isdecimal():
        words = environment.get("COMP_WORDS", "").split("\n")
        words, current, before = rejoined(words, int(environment["COMP_CWORD"]))
        environment["COMP_WORDS"], environment["COMP_CWORD"] = "\n".join(words), str(current)
        _before[:] = [before]


def rejoined(words: list[str], current: int) -> tuple[list[str], int, str]:
    """Words without bash's breaks; the index of the one that is completed, of which only what bash will replace is left;
    and what stands before that."""
    whole: list[str] = []
    index, before, glue = 0, "", False
    for place, word in enumerate([*words, *[""] * (current + 1 - len(words))]):
        is_break = bool(word) and not word.strip(BREAKS)
        if whole and (glue or is_break):
            whole[-1] += word
        else:
            whole.append(word)
        if place == current:
            kept = "" if is_break else word
            index, before = len(whole) - 1, whole[-1].removesuffix(kept)
            whole[-1] = kept
            break
        glue = is_break
    return whole, index, before
