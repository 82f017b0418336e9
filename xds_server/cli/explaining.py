"""`xds-server explain`: why a target gets the requests that it gets, as far as its definition and operators decide it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from xds_server.cli import tables
from xds_server.cli.client import Client
from xds_server.cli.completing import target_names, upstream_names
from xds_server.cli.connection import connected
from xds_server.cli.errors import fail, printable
from xds_server.cli.outcome import blamed
from xds_server.cli.output import AsData, Format, Shown, text
from xds_server.cli.problems import RefusedError

OUT: Final = {
    "draining": "no new requests: it is draining",
    "disabled": "no requests: it is disabled",
    "unhealthy": "no requests: it was set to unhealthy by hand",
}


@connected
def explain(
    client: Client,
    upstream: Annotated[str, typer.Argument(metavar="UPSTREAM", autocompletion=upstream_names, help="Its name.")],
    target: Annotated[
        str | None, typer.Argument(metavar="HOST:PORT", autocompletion=target_names, help="Only this target.")
    ] = None,
    output: AsData = None,
) -> None:
    """Say where an upstream is defined, which Envoys reject it, and why each of its targets gets requests or does not.

    What Envoys find out themselves, by probes and by errors, is not in it: each of them decides that alone.
    """
    if target is not None:
        client.get("upstreams", upstream, "targets", target)  # for the sentence that names those that there are
    targets = client.get("upstreams", upstream, "targets")["targets"]
    page = client.get("upstreams", prefix=upstream, limit=1)
    known = page["about"].get(upstream)
    if known is None:
        fail(f"there is no upstream {upstream!r} any more")
    by_place = "localities" in page["upstreams"][0]
    found: list[dict[str, Any]] = []
    for one, verdict in zip(targets, verdicts(targets, client.now, by_place=by_place), strict=True):
        if target in (None, one["target"]):
            found.append({"target": one["target"], "verdict": verdict, "because": because(client, one)})
    made = _revision(client, known["revision"])
    rejected = [each for each in made.get("degraded") or () if each.get("name") == upstream]
    shown = Shown({"upstream": upstream, **known, "targets": found, "rejected": rejected})
    if output in (Format.JSON, Format.YAML):
        typer.echo(text(shown, output), nl=False)
        return
    place = (
        "through the API" if known["origin"] == "api" else f"in {known['origin']}:{known.get('line', '')}".rstrip(":")
    )
    typer.echo(printable(f"upstream {upstream}: defined {place}, as of revision {known['revision']}"))
    for each in rejected:
        typer.echo(printable(f"  {each.get('node')} rejects it ({blamed(each)}): {each.get('detail')}"))
    for each in found:
        why = f" ({each['because']})" if each["because"] else ""
        typer.echo(printable(f"  {each['target']}: {each['verdict']}{why}"))


def verdicts(targets: Sequence[Mapping[str, Any]], now: datetime, *, by_place: bool = False) -> Iterator[str]:
    """What each target gets, and why, while all that are enabled are healthy. `by_place`: localities have a say in it."""
    serving = [one for one in targets if tables.state(one, now) == "enabled" and one["weight"]]
    first = min((one["priority"] for one in serving), default=0)
    together = sum(one["weight"] for one in serving if one["priority"] == first)
    for one in targets:
        state = tables.state(one, now)
        if state != "enabled":
            yield OUT.get(state, f"it is {state}")
        elif not one["weight"]:
            yield "no new requests: its weight is 0"
        elif one["priority"] > first:
            yield f"no requests as long as those of priority {first} can take them: its priority is {one['priority']}"
        elif by_place:
            yield f"requests, how many depends on its place and the Envoy's (weight {one['weight']})"
        else:
            yield f"requests: {one['weight'] * 100 / together:.3g} % (weight {one['weight']} of {together})"


def because(client: Client, target: Mapping[str, Any]) -> str:
    """What was laid over a target, by whom and why; empty where its definition alone counts."""
    said = "; ".join(tables.notes(target, client.now))
    number = target.get("overridden_by")
    revision = _revision(client, number) if number is not None else {}
    if not revision:
        return said
    message = f": {' '.join(revision['message'].split())}" if revision.get("message") else ""
    return f"{said}, by {revision['author']} at {revision['time']}{message}"


def _revision(client: Client, number: int) -> dict[str, Any]:
    """What is known of a revision; nothing of one that is forgotten, as they are after a while."""
    try:
        found: dict[str, Any] = client.get("revisions", str(number))
    except RefusedError as error:
        if error.status != 404:
            raise
        return {}
    return found
