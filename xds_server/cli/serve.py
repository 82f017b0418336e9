"""`xds-server serve`: run the control plane."""

import asyncio
import os
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError

from xds_server.cli import stopping
from xds_server.cli.connection import VARIABLES
from xds_server.cli.errors import fail
from xds_server.settings import Settings
from xds_server.upstreams.model.scalars import format_duration

PREFIX: Final = "XDS_SERVER_"
OTHERS: Final = ("XDS_SERVER_ENVOY_IMAGE", "XDS_SERVER_IMAGE", *VARIABLES)
"""Variables of the tests' containers, and of the commands that talk to a server."""


def _option(name: str, *flags: str) -> Any:
    field = Settings.model_fields[name]
    env = PREFIX + name.upper()
    value = format_duration(field.default) if isinstance(field.default, timedelta) else field.default
    value = ",".join(value) if isinstance(value, tuple) else value
    default = f" Default: {value}." if value and field.default_factory is None else ""
    flag = f"--{name.replace('_', '-')}"
    return typer.Option(flag, *flags, help=f"{field.description}{default} Environment: {env}.", show_default=False)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """What to say of variables that look like options and are none: they would be ignored without a word."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    said = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in (*known, *OTHERS):
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
            said.append(f"the variable {name} is ignored: it is no option of serve{hint}")
    return said


def _told(error: ValidationError, given: Mapping[str, Any]) -> str:
    """The first mistake: which option or variable, its value, and why it cannot be."""
    first = error.errors()[0]
    name = str(first["loc"][0])
    option = f"--{name.replace('_', '-')}" if name in given else PREFIX + name.upper()
    said = first["msg"].removeprefix("Value error, ")
    value = repr(first["input"])
    return f"{option}: {said if value in said else f'{value}: {said[0].lower()}{said[1:]}'}"


def serve(
    definitions: Annotated[list[Path] | None, _option("definitions")] = None,
    store: Annotated[str | None, _option("store")] = None,
    max_removal: Annotated[float | None, _option("max_removal")] = None,
    keep_revisions: Annotated[int | None, _option("keep_revisions")] = None,
    keep_days: Annotated[int | None, _option("keep_days")] = None,
    secrets_dir: Annotated[Path | None, _option("secrets_dir")] = None,
    xds_address: Annotated[str | None, _option("xds_address")] = None,
    http_address: Annotated[str | None, _option("http_address")] = None,
    grpc_address: Annotated[str | None, _option("grpc_address")] = None,
    tls_cert: Annotated[Path | None, _option("tls_cert")] = None,
    tls_key: Annotated[Path | None, _option("tls_key")] = None,
    tls_client_ca: Annotated[Path | None, _option("tls_client_ca")] = None,
    node_names: Annotated[str | None, _option("node_names")] = None,
    client_roles: Annotated[str | None, _option("client_roles")] = None,
    insecure: Annotated[bool | None, _option("insecure")] = None,
    allowed_hosts: Annotated[str | None, _option("allowed_hosts")] = None,
    dns_servers: Annotated[str | None, _option("dns_servers")] = None,
    identifier: Annotated[str | None, _option("identifier")] = None,
    max_connection_age: Annotated[str | None, _option("max_connection_age")] = None,
    max_new_streams: Annotated[float | None, _option("max_new_streams")] = None,
    workers: Annotated[int | None, _option("workers")] = None,
    drain_time: Annotated[str | None, _option("drain_time")] = None,
    log_format: Annotated[str | None, _option("log_format")] = None,
    log_level: Annotated[str | None, _option("log_level")] = None,
) -> None:
    """Run the control plane: take definitions from files and over the API, and serve them to Envoys over xDS."""
    given: dict[str, Any] = {name: value for name, value in locals().items() if value is not None}
    # gRPC would print a line of its own when a port is taken; we say it ourselves.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        settings = Settings(**given)
    except ValidationError as error:
        fail(_told(error, given))
    for line in unknown_variables(os.environ):
        typer.echo(f"xds-server: {line}", err=True)
    # Imported late, as they take a third of a second that `--help` and the other commands need not pay.
    from xds_server import app, log
    from xds_server.catalog.store.engine import StoreError
    from xds_server.pem_files import PemError
    from xds_server.workers.manager import WorkersError
    from xds_server.xds import AddressInUseError

    log.configure(settings.log_format, settings.log_level)
    try:
        asyncio.run(app.serve(settings, stopping.asked))
    except (AddressInUseError, StoreError, PemError, WorkersError, app.NotAllowedError) as error:
        fail(str(error))
