"""`xds-server bootstrap`: print what an Envoy starts with."""

from pathlib import Path
from typing import Annotated

import typer

from xds_server.bootstrap import Bootstrap, render, render_sds
from xds_server.cli.errors import fail
from xds_server.config_sources import Protocol

Text = str | None


def bootstrap(
    node_id: Annotated[str, typer.Option(help="Name of this Envoy, unique in the fleet.")],
    node_cluster: Annotated[str, typer.Option(help="Group that this Envoy belongs to.")] = "default",
    region: Annotated[str, typer.Option(help="Region where this Envoy runs.")] = "",
    zone: Annotated[str, typer.Option(help="Zone where this Envoy runs.")] = "",
    local_cluster: Annotated[
        Text,
        typer.Option(metavar="UPSTREAM", help="Upstream that holds the Envoys themselves, for zone-aware balancing."),
    ] = None,
    metadata: Annotated[list[str] | None, typer.Option(help="Label KEY=VALUE of this Envoy; repeatable.")] = None,
    xds_address: Annotated[
        Text, typer.Option(help="The control plane's host:port. Default: 127.0.0.1:18000, with --rest 127.0.0.1:18080.")
    ] = None,
    sotw: Annotated[bool, typer.Option("--sotw", help="Aggregated stream, state of the world.")] = False,
    delta: Annotated[bool, typer.Option("--delta", help="Aggregated stream, incremental (the default).")] = False,
    per_type: Annotated[
        bool, typer.Option("--per-type", help="Streams of its own for each type, incremental.")
    ] = False,
    rest: Annotated[bool, typer.Option("--rest", help="Polling over HTTP, every 5 s to 10 s.")] = False,
    admin_address: Annotated[
        str, typer.Option(help="Where Envoy's admin interface listens; port 0 takes any free one.")
    ] = ("127.0.0.1:9901"),
    static_listener: Annotated[
        int | None,
        typer.Option(metavar="PORT", help="Own listener that routes by host; otherwise listeners come over xDS."),
    ] = None,
    ca: Annotated[Text, typer.Option(metavar="FILE", help="CA that signed the control plane's certificate.")] = None,
    cert: Annotated[Text, typer.Option(metavar="FILE", help="This Envoy's client certificate.")] = None,
    key: Annotated[Text, typer.Option(metavar="FILE", help="Key of the client certificate.")] = None,
    sds_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write two small files there, by which Envoy reads these three again when they are replaced.",
        ),
    ] = None,
) -> None:
    """Print a ready Envoy bootstrap."""
    chosen: dict[Protocol, bool] = {"sotw": sotw, "delta": delta, "per-type": per_type, "rest": rest}
    protocols = [name for name, on in chosen.items() if on]
    if len(protocols) > 1:
        fail(f"--{protocols[0]} and --{protocols[1]} exclude each other")
    labels = {}
    for label in metadata or ():
        name, equals, value = label.partition("=")
        if not name or not equals:
            fail(f"--metadata {label!r}: write KEY=VALUE")
        labels[name] = value
    try:
        options = Bootstrap(
            node_id=node_id,
            node_cluster=node_cluster,
            region=region,
            zone=zone,
            local_cluster=local_cluster,
            metadata=labels,
            xds_address=xds_address,
            protocol=protocols[0] if protocols else "delta",
            static_listener=static_listener,
            admin_address=admin_address,
            ca_file=ca,
            cert_file=cert,
            key_file=key,
            sds_dir=str(sds_dir) if sds_dir is not None else None,
        )
    except ValueError as error:
        fail(str(error))
    if sds_dir is not None:
        _write(sds_dir, render_sds(options))
    typer.echo(render(options), nl=False)


def _write(directory: Path, files: dict[str, str]) -> None:
    """Beside, then renamed over the old ones: an Envoy that runs already must see whole files, and that they changed."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        new = directory / f".{name}.new"
        new.write_text(text, encoding="utf-8")
        new.replace(directory / name)
