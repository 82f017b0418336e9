"""`xds-server validate`, `translate` and `schema`: what can be said of definition files without a server."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from xds_server.cli.errors import fail
from xds_server.cli.options import one_of

NAMES: Final = 10
"""Names that one line shows."""

Paths = Annotated[list[Path], typer.Argument(help="Definition files, or directories of them.")]


ApiUpstream = Annotated[
    list[str] | None,
    typer.Option("--api-upstream", metavar="NAME", help="Upstream that gateways name and the API defines; repeatable."),
]


class ResourceType(StrEnum):
    """Kinds of Envoy resources that `translate` can be limited to."""

    CLUSTER = "cluster"
    ENDPOINTS = "endpoints"
    LISTENER = "listener"
    ROUTE = "route"


class Output(StrEnum):
    """Formats that `translate` prints."""

    YAML = "yaml"
    JSON = "json"


def _name_servers(value: str) -> tuple[str, ...]:
    from xds_server.settings import name_server

    try:
        return tuple(name_server(part.strip()) for part in value.split(",") if part.strip())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def validate(
    paths: Paths,
    with_envoy: Annotated[
        bool, typer.Option("--with-envoy", help="Also have a real Envoy load what they become.")
    ] = False,
    envoys: Annotated[
        int, typer.Option(min=1, help="How many Envoys receive them, for warnings about probes and limits.")
    ] = 1,
    api_upstream: ApiUpstream = None,
    secrets_dir: Annotated[
        Path | None, typer.Option("--secrets-dir", help="Also check the secrets that they name.")
    ] = None,
    resolve: Annotated[
        bool, typer.Option("--resolve", help="Also look up host names, for warnings about what they resolve to.")
    ] = False,
    dns_servers: Annotated[
        Any,
        typer.Option(
            "--dns-servers",
            help="The same by these name servers instead of this machine's, separated by commas.",
            parser=_name_servers,
            metavar="ADDRESS[:PORT],…",
        ),
    ] = None,
) -> None:
    """Check definition files. Prints each problem as file:line: field: message and exits 1 when there is one.

    What is legal and will surprise is printed in the same way, as a warning, and changes nothing about the exit code.
    """
    from xds_server.cli.with_envoy import check_with_envoy
    from xds_server.delivery.checking import check_files, warnings
    from xds_server.envoy_binary import EnvoyNotFoundError
    from xds_server.resolvers.lookup import SystemLookup

    checked = check_files(paths, secrets_dir, api_upstream or ())
    problems, sound = checked.problems, "sound"
    if with_envoy and not problems:
        try:
            envoy, problems = check_with_envoy(checked)
            sound = f"sound, and {envoy} takes it"
        except EnvoyNotFoundError as error:
            fail(str(error))
    for problem in problems:
        typer.echo(str(problem))
    if problems:
        raise typer.Exit(1)
    lookup = SystemLookup(dns_servers or ()) if resolve or dns_servers else None
    surprising = warnings(checked, envoys=envoys, lookup=lookup)
    for warning in surprising:
        typer.echo(str(warning))
    if checked.secrets and secrets_dir is None:
        names = ", ".join(sorted(checked.secrets)[:NAMES])
        typer.echo(f"not checked without --secrets-dir: {len(checked.secrets)} secret(s): {names}", err=True)
    counted = f"{len(checked.upstreams)} upstream(s), {len(checked.gateways)} gateway(s)"
    typer.echo(f"{sound}: {counted}" + (f", {len(surprising)} warning(s)" if surprising else ""), err=True)


def translate(
    paths: Paths,
    name: Annotated[str | None, typer.Option(help="Only this upstream or gateway.")] = None,
    type: Annotated[ResourceType | None, one_of(ResourceType, help="Only this kind of resource.")] = None,
    region: Annotated[str, typer.Option(help="As an Envoy of this region is sent them (balance: nearest).")] = "",
    zone: Annotated[str, typer.Option(help="And of this zone.")] = "",
    api_upstream: ApiUpstream = None,
    output: Annotated[Output, one_of(Output, "-o", "--output", help="Format.")] = Output.YAML,
) -> None:
    """Print the Envoy resources that definition files become."""
    from xds_server.delivery.checking import check_files, messages_of
    from xds_server.upstreams.translate import Place
    from xds_server.upstreams.translate.render import to_json, to_yaml

    checked = check_files(paths, elsewhere=api_upstream or ())
    for problem in checked.problems:
        typer.echo(str(problem), err=True)
    if checked.problems:
        raise typer.Exit(1)
    if name is not None and name not in {*checked.upstreams, *checked.gateways}:
        fail(f"there is no upstream or gateway named {name!r} in {', '.join(map(str, paths))}")
    kind = type.value if type is not None else None
    messages = messages_of(checked, name=name, kind=kind, place=Place(region, zone))
    if not messages:
        typer.echo(f"nothing: {name or 'these files'} has no resource of the kind {type}", err=True)
    typer.echo((to_json if output is Output.JSON else to_yaml)(messages), nl=False)


def schema() -> None:
    """Print the JSON Schema of definition files, for editors."""
    from xds_server.upstreams.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
