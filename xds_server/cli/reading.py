"""`xds-server get`: what a running server has."""

from functools import partial
from typing import Annotated, Any

import typer

from xds_server.cli import tables
from xds_server.cli.client import Client
from xds_server.cli.completing import gateway_names, node_names, revision_numbers, upstream_names
from xds_server.cli.connection import connected
from xds_server.cli.errors import fail, say
from xds_server.cli.output import Output, Shown, show
from xds_server.cli.watching import Read, watch

get = typer.Typer(help="Read from a running server.", no_args_is_help=True)

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Read again every second, until Ctrl-C.")]
Label = Annotated[
    list[str] | None,
    typer.Option("--label", "-l", metavar="KEY=VALUE", help="Only of upstreams with this label; repeatable."),
]
Upstream = Annotated[str | None, typer.Argument(metavar="NAME", autocompletion=upstream_names, help="Only this one.")]
Gateway = Annotated[str | None, typer.Argument(metavar="NAME", autocompletion=gateway_names, help="Only this one.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, metavar="NUMBER", help="How many at the most, the newest first.")]


@get.command("upstreams")
@connected
def upstreams(
    client: Client, name: Upstream = None, label: Label = None, output: Output = None, watch: Watch = False
) -> None:
    """Upstreams as they are written. As YAML or JSON they are a definition file, which `apply` takes."""
    _show(partial(_definitions, client, "upstreams", name, label), output, watch)


@get.command("gateways")
@connected
def gateways(client: Client, name: Gateway = None, output: Output = None, watch: Watch = False) -> None:
    """Gateways as they are written. As YAML or JSON they are a definition file, which `apply` takes."""
    _show(partial(_definitions, client, "gateways", name, None), output, watch)


@get.command("targets")
@connected
def targets(
    client: Client,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", autocompletion=upstream_names, help="Only of this upstream.")
    ] = None,
    label: Label = None,
    output: Output = None,
    watch: Watch = False,
) -> None:
    """Targets as they are served, with what operators laid over them."""

    def read() -> Shown:
        if name is not None:
            found = [{"upstream": name, **one} for one in client.get("upstreams", name, "targets")["targets"]]
        else:
            found = [one for page in client.pages("targets", "targets", label=label) for one in page["targets"]]
        return Shown(found, tables.targets(found, client.now))

    _show(read, output, watch)


@get.command("nodes")
@connected
def nodes(
    client: Client,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", autocompletion=node_names, help="Only this one, in full.")
    ] = None,
    output: Output = None,
    watch: Watch = False,
) -> None:
    """Envoys and other clients, and what each of them has acknowledged or rejected."""

    def read() -> Shown:
        if name is not None:
            return Shown(client.get("nodes", name))
        pages = [*client.pages("nodes", "nodes")]
        if unknown := pages[-1].get("unknown"):
            say(str(unknown))
        found = [one for page in pages for one in page["nodes"]]
        return Shown(found, tables.nodes(found))

    _show(read, output, watch)


@get.command("revisions")
@connected
def revisions(
    client: Client,
    number: Annotated[
        int | None,
        typer.Argument(min=1, metavar="REV", autocompletion=revision_numbers, help="Only this one, in full."),
    ] = None,
    limit: Limit = 100,
    output: Output = None,
    watch: Watch = False,
) -> None:
    """Revisions from the newest back; of one also which records it changed."""
    if number is not None:
        _show(lambda: Shown(client.get("revisions", str(number))), output, watch)
    else:
        _show(partial(newest, client, limit), output, watch)


def newest(client: Client, limit: int) -> Shown:
    """The newest revisions; that there are more is said."""
    page = client.get("revisions", limit=limit)
    if (page.get("next") or 1) > 1:
        say(f"older revisions than {page['next']} are not shown: --limit shows up to 1000")
    return Shown(page["revisions"], tables.revisions(page["revisions"]))


def _definitions(client: Client, kind: str, name: str | None, label: list[str] | None) -> Shown:
    if name is not None:
        # Of all names that begin so, the whole of it comes first.
        page = client.get(kind, prefix=name, limit=1)
        pages = [page] if [one["name"] for one in page[kind]] == [name] else []
        if not pages:
            fail(f"there is no {kind.removesuffix('s')} {name!r}")
    else:
        pages = [*client.pages(kind, kind, label=label)]
    found = [one for page in pages for one in page[kind]]
    about: dict[str, Any] = {key: value for page in pages for key, value in page["about"].items()}
    return Shown({kind: found}, getattr(tables, kind)(found, about))


def _show(read: Read, output: Any, watched: bool) -> None:
    if watched:
        watch(read, output)
    else:
        show(read(), output)
