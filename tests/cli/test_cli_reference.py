"""The page of the command line: generated, complete, and up to date."""

from pathlib import Path
from typing import Any

import pytest
import typer

from xds_server.cli import reference
from xds_server.cli.commands import app

GROUP: Any = typer.main.get_command(app)
COMMANDS = [*reference._commands(GROUP, typer.Context(GROUP, info_name="xds-server"))]


def test_the_page_in_docs_is_up_to_date(root: Path) -> None:
    written = (root / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == reference.markdown(), "run: python -m xds_server.cli.reference docs"


def test_it_is_written(tmp_path: Path) -> None:
    assert reference.main([str(tmp_path)]) == 0
    assert (tmp_path / "cli.md").read_text(encoding="utf-8") == reference.markdown()
    assert reference.main([]) == 2


@pytest.mark.parametrize(("command", "context"), COMMANDS, ids=[context.command_path for _, context in COMMANDS])
def test_every_command_and_option_is_explained(command: Any, context: typer.Context) -> None:
    page = reference.markdown()
    assert f"## {context.command_path.removeprefix('xds-server ')}\n" in page
    assert command.help
    for parameter in command.params:
        assert parameter.help, parameter.name


def test_the_commands_of_the_contract_are_there() -> None:
    names = {context.command_path.removeprefix("xds-server ") for _, context in COMMANDS}
    assert {f"get {kind}" for kind in ("upstreams", "targets", "nodes", "revisions")} < names
    assert {"apply", "delete upstream", "drain", "enable", "disable", "weight"} < names
    assert {"history", "diff", "rollback", "confirm", "serve", "validate", "translate", "bootstrap"} < names
    for command, context in COMMANDS:
        if reference._is_connected(command):
            options = {option for parameter in command.params for option in parameter.opts}
            assert {"--server", "--token", "--output"} < options, context.command_path
