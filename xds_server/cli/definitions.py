"""`xds-server validate`, `translate` and `schema`: what can be said of definition files without a server."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from xds_server.cli.errors import fail

Paths = Annotated[list[Path], typer.Argument(help="Definition files, or directories of them.")]


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


def _one_of(kind: type[StrEnum], *flags: str, help: str) -> Any:
    """An option that is one of a few words; Typer's own would say `Value error` of others."""
    words = [member.value for member in kind]

    def parse(value: str) -> StrEnum:
        if value not in words:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(words)}")
        return kind(value)

    return typer.Option(*flags, help=help, parser=parse, metavar=f"[{'|'.join(words)}]")


def validate(
    paths: Paths,
    with_envoy: Annotated[
        bool, typer.Option("--with-envoy", help="Also have a real Envoy load what they become.")
    ] = False,
) -> None:
    """Check definition files. Prints each problem as file:line: field: message and exits 1 when there is one."""
    from xds_server.cli.with_envoy import check_with_envoy, envoy_version
    from xds_server.delivery.checking import check_files
    from xds_server.testing.binary import EnvoyNotFoundError

    checked = check_files(paths)
    problems, sound = checked.problems, "sound"
    if with_envoy and not problems:
        try:
            problems, sound = check_with_envoy(checked), f"sound, and {envoy_version()} takes it"
        except EnvoyNotFoundError as error:
            fail(str(error))
    for problem in problems:
        typer.echo(str(problem))
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{sound}: {len(checked.upstreams)} upstream(s), {len(checked.gateways)} gateway(s)", err=True)


def translate(
    paths: Paths,
    name: Annotated[str | None, typer.Option(help="Only this upstream or gateway.")] = None,
    type: Annotated[ResourceType | None, _one_of(ResourceType, help="Only this kind of resource.")] = None,
    output: Annotated[Output, _one_of(Output, "-o", "--output", help="Format.")] = Output.YAML,
) -> None:
    """Print the Envoy resources that definition files become."""
    from xds_server.delivery.checking import check_files, messages_of
    from xds_server.upstreams.translate.render import to_json, to_yaml

    checked = check_files(paths)
    for problem in checked.problems:
        typer.echo(str(problem), err=True)
    if checked.problems:
        raise typer.Exit(1)
    if name is not None and name not in {*checked.upstreams, *checked.gateways}:
        fail(f"there is no upstream or gateway named {name!r} in {', '.join(map(str, paths))}")
    messages = messages_of(checked, name=name, kind=type.value if type is not None else None)
    if not messages:
        typer.echo(f"nothing: {name or 'these files'} has no resource of the kind {type}", err=True)
    typer.echo((to_json if output is Output.JSON else to_yaml)(messages), nl=False)


def schema() -> None:
    """Print the JSON Schema of definition files, for editors."""
    from xds_server.upstreams.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
