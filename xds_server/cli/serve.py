"""`xds-server serve`: run the control plane."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from xds_server.cli import stopping
from xds_server.cli.errors import fail
from xds_server.settings import Settings
from xds_server.upstreams.model.scalars import format_duration


def _option(name: str, *flags: str) -> Any:
    field = Settings.model_fields[name]
    env = f"XDS_SERVER_{name.upper()}"
    value = format_duration(field.default) if isinstance(field.default, timedelta) else field.default
    default = f" Default: {value}." if value and field.default_factory is None else ""
    flag = f"--{name.replace('_', '-')}"
    return typer.Option(flag, *flags, help=f"{field.description}{default} Environment: {env}.", show_default=False)


def serve(
    definitions: Annotated[list[Path] | None, _option("definitions")] = None,
    xds_address: Annotated[str | None, _option("xds_address")] = None,
    http_address: Annotated[str | None, _option("http_address")] = None,
    identifier: Annotated[str | None, _option("identifier")] = None,
    max_connection_age: Annotated[str | None, _option("max_connection_age")] = None,
    max_new_streams: Annotated[float | None, _option("max_new_streams")] = None,
    drain_time: Annotated[str | None, _option("drain_time")] = None,
    log_format: Annotated[str | None, _option("log_format")] = None,
    log_level: Annotated[str | None, _option("log_level")] = None,
) -> None:
    """Run the control plane: watch definitions and serve them to Envoys over xDS."""
    given: dict[str, Any] = {name: value for name, value in locals().items() if value is not None}
    # gRPC would print a line of its own when a port is taken; we say it ourselves.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        settings = Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        fail(f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg'].removeprefix('Value error, ')}")
    if not settings.definitions:
        fail("there is nothing to serve: give --definitions PATH (a file or a directory)")
    # Imported late, as they take a third of a second that `--help` and the other commands need not pay.
    from xds_server import app, log
    from xds_server.xds import AddressInUseError

    log.configure(settings.log_format, settings.log_level)
    try:
        asyncio.run(app.serve(settings, stopping.asked))
    except AddressInUseError as error:
        fail(str(error))
