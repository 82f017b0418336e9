"""`xds-server drain`, `enable`, `disable`, `weight`, `reset`: what operators say of single targets.

It lies over the definition, whether that came from a file or through the API, and stays there when it is edited.
"""

from datetime import timedelta
from typing import Annotated, Any

import typer

from xds_server.cli import tables
from xds_server.cli.applying import Timeout, Wait, read_wait, wait_for
from xds_server.cli.client import Client
from xds_server.cli.completing import target_names, upstream_names
from xds_server.cli.connection import connected
from xds_server.cli.options import Message, read_instant, read_seconds
from xds_server.cli.outcome import tell
from xds_server.cli.output import AsData
from xds_server.upstreams.model.scalars import format_instant

Upstream = Annotated[str, typer.Argument(metavar="UPSTREAM", autocompletion=upstream_names, help="Its name.")]
Target = Annotated[str, typer.Argument(metavar="HOST:PORT", autocompletion=target_names, help="One of its targets.")]
Expires = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN",
        help="Take this away again, so that the definition alone counts: after a time (2h) or at one (RFC 3339).",
    ),
]


@connected
def drain(
    client: Client,
    upstream: Upstream,
    target: Target,
    lasting: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="After this time it counts as disabled.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="From this time on it counts as disabled (RFC 3339).")
    ] = None,
    expires: Expires = None,
    wait: Wait = None,
    timeout: Timeout = "30s",
    message: Message = "",
    output: AsData = None,
) -> None:
    """Give a target no new requests, and let those under way finish."""
    if lasting is not None and until is not None:
        raise typer.BadParameter("--for and --until exclude each other", param_hint="--until")
    option, text = ("--for", lasting) if until is None else ("--until", until)
    _lay(
        client,
        upstream,
        target,
        {"state": "draining"},
        {"drain_until": (option, text)},
        expires,
        (wait, timeout),
        message,
        output,
    )


@connected
def enable(
    client: Client,
    upstream: Upstream,
    target: Target,
    expires: Expires = None,
    wait: Wait = None,
    timeout: Timeout = "30s",
    message: Message = "",
    output: AsData = None,
) -> None:
    """Give a target requests again."""
    _lay(
        client,
        upstream,
        target,
        {"state": "enabled", "drain_until": None},
        {},
        expires,
        (wait, timeout),
        message,
        output,
    )


@connected
def disable(
    client: Client,
    upstream: Upstream,
    target: Target,
    expires: Expires = None,
    wait: Wait = None,
    timeout: Timeout = "30s",
    message: Message = "",
    output: AsData = None,
) -> None:
    """Take a target out at once: Envoys forget it, and requests under way may fail."""
    _lay(
        client,
        upstream,
        target,
        {"state": "disabled", "drain_until": None},
        {},
        expires,
        (wait, timeout),
        message,
        output,
    )


@connected
def weight(
    client: Client,
    upstream: Upstream,
    target: Target,
    weight: Annotated[
        int, typer.Argument(min=0, max=1_000_000, metavar="WEIGHT", help="Its share of traffic; 0 is no new requests.")
    ],
    expires: Expires = None,
    wait: Wait = None,
    timeout: Timeout = "30s",
    message: Message = "",
    output: AsData = None,
) -> None:
    """Change a target's share of traffic. Its upstream's algorithm must take weights."""
    _lay(client, upstream, target, {"weight": weight}, {}, expires, (wait, timeout), message, output)


@connected
def reset(
    client: Client,
    upstream: Upstream,
    target: Target,
    wait: Wait = None,
    timeout: Timeout = "30s",
    message: Message = "",
    output: AsData = None,
) -> None:
    """Take away all that was laid over a target (state, weight, deadlines): what its definition says counts again."""
    nothing = {"state": None, "weight": None, "drain_until": None, "expires": None}
    _lay(client, upstream, target, nothing, {}, None, (wait, timeout), message, output)


def _lay(
    client: Client,
    upstream: str,
    target: str,
    said: dict[str, Any],
    times: dict[str, tuple[str, str | None]],
    expires: str | None,
    wait: tuple[str | None, str],
    message: str,
    output: Any,
) -> None:
    """Lay something over a target. `times`: fields with the option and the text that say when; from now on where that is a
    duration. `wait`: for which share of the Envoys, and for how long.

    An override has one expiry. A new state takes it away, unless it brings one: what was to come back after an hour and is
    now disabled for good must not come back. A new weight leaves it, so that a drain that was to end does end.
    """
    waited, patience = read_wait(*wait)
    times = times | ({"expires": ("--expires", expires)} if expires is not None or "state" in said else {})
    for option, text in times.values():
        _when(client, option, text)  # a wrong one is told before anything is asked
    client.get("upstreams", upstream, "targets", target)  # for the server's clock, by which its deadlines are judged
    patch = said | {field: _when(client, option, text) for field, (option, text) in times.items()}
    answer = client.send("PATCH", "upstreams", upstream, "targets", target, body=patch, query={"message": message})
    answer = wait_for(client, answer, waited, patience)
    sentence = described(client.get("upstreams", upstream, "targets", target), upstream, client)
    tell(answer, output, sentence, waited=bool(waited))


def _when(client: Client, option: str, text: str | None) -> str | None:
    if text is None:
        return None
    if option == "--until" or (option == "--expires" and "-" in text):
        return format_instant(read_instant(option, text))
    return format_instant(client.now + timedelta(seconds=read_seconds(option, text)))


def described(target: Any, upstream: str, client: Client) -> str:
    """`payments 10.0.0.1:8080 is draining, weight 3 (…)`."""
    notes = "; ".join(tables.notes(target, client.now))
    state = tables.state(target, client.now)
    return f"{upstream} {target['target']} is {state}, weight {target['weight']}" + (f" ({notes})" if notes else "")
