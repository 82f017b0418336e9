"""`xds-server serve`: run the control plane."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from xds_server.cli.errors import fail
from xds_server.settings import Settings


def _option(name: str, *flags: str) -> Any:
    field = Settings.model_fields[name]
    env = f"XDS_SERVER_{name.upper()}"
    default = f" Default: {field.default}." if field.default else ""
    flag = f"--{name.replace('_', '-')}"
    return typer.Option(flag, *flags, help=f"{field.description}{default} Environment: {env}.", show_default=False)


def serve(
    definitions: Annotated[list[Path] | None, _option("definitions")] = None,
    xds_address: Annotated[str | None, _option("xds_address")] = None,
    log_format: Annotated[str | None, _option("log_format")] = None,
    log_level: Annotated[str | None, _option("log_level")] = None,
) -> None:
    """Run the control plane: watch definitions and serve them to Envoys over xDS."""
    given = {"definitions": definitions, "xds_address": xds_address, "log_format": log_format, "log_level": log_level}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        fail(f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg'].removeprefix('Value error, ')}")
    if not settings.definitions:
        fail("there is nothing to serve: give --definitions PATH (a file or a directory)")
    # gRPC would print a line of its own when a port is taken; we say it ourselves.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Imported late, as they take a third of a second that `--help` and the other commands need not pay.
    from xds_server import app, log
    from xds_server.xds import AddressInUseError

    log.configure(settings.log_format, settings.log_level)
    try:
        asyncio.run(app.serve(settings))
    except AddressInUseError as error:
        fail(f"{error}; choose another one with --xds-address")
