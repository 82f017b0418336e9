"""Commands on a terminal: tables that stand out, drawn anew, and nothing that data could draw."""

import json
from collections.abc import Callable

from command_line import CommandLine
from fake_api import fake_api

Commands = Callable[..., CommandLine]
EVIL = "\x1b[31mevil\x1b[2J[bold]markup[/bold]\u009b1m"


def apply(cli: CommandLine, name: str, **more: object) -> None:
    document = {"upstreams": [{"name": name, "targets": [{"host": "10.0.0.1", "port": 80}], **more}]}
    cli.ok("apply", "-f", "-", "-m", "why\tnot", stdin=json.dumps(document))


def test_a_table(cli: CommandLine) -> None:
    apply(cli, "on-a-terminal")
    with cli.terminal("get", "targets", "on-a-terminal") as terminal:
        assert terminal.wait() == 0
        head, row = (line.rstrip() for line in terminal.text.splitlines())
        assert head.split() == ["UPSTREAM", "TARGET", "STATE", "WEIGHT", "PRIORITY", "LOCALITY", "NOTE"]
        assert row.split() == ["on-a-terminal", "10.0.0.1:80", "enabled", "1", "0"]
        assert row.index("enabled") == head.index("STATE")
        assert "\x1b[32menabled" in terminal.raw, "green"
    with cli.terminal("history", "--limit", 1) as terminal:
        assert terminal.wait() == 0
        assert r"why\tnot" in terminal.text


def test_a_table_on_a_narrow_terminal_loses_nothing(cli: CommandLine) -> None:
    apply(cli, "narrow-" + "x" * 60)
    with cli.terminal("get", "upstreams", "narrow-" + "x" * 60, width=60) as terminal:
        assert terminal.wait() == 0
        assert terminal.text.count("x") == 60
        assert "…" not in terminal.text


def test_data_moves_no_cursor_and_is_no_markup(command_line: Commands) -> None:
    shown = r"\x1b[31mevil\x1b[2J[bold]markup[/bold]\x9b1m"
    nodes = {"nodes": [{"id": EVIL}], "next": None}
    preview = {"changes": [{"kind": "upstream", "name": EVIL, "action": "changed", "diff": [f"+{EVIL}"]}]}
    with fake_api({"/v1/nodes": nodes, "/v1/nodes/a": (404, json.dumps({"detail": EVIL}))}) as fake:
        cli = command_line(fake.address)
        with cli.terminal("get", "nodes") as terminal:
            terminal.wait()
            assert shown in terminal.text
            assert "\x1b[31m" not in terminal.raw
        with cli.terminal("get", "nodes", "a") as terminal:
            assert terminal.wait() == 1
            assert terminal.raw == f"xds-server: {shown}\r\n"
        fake.answers["/v1/revisions/1/diff"] = preview
        with cli.terminal("diff", 1) as terminal:
            assert terminal.wait() == 0
            assert terminal.text == f"upstream {shown}: changed, 0 Envoys\n+{shown}\n"
            assert f"\x1b[32m+{shown}" in terminal.raw, "what comes is green"
        for output in ("json", "yaml"):
            with cli.terminal("get", "nodes", "-o", output) as terminal:
                assert terminal.wait() == 0
                assert "\x1b" not in terminal.raw
                assert "\u009b" not in terminal.raw


def test_watch_draws_anew_until_ctrl_c(command_line: Commands) -> None:
    node = {"id": "edge-1", "status": "SYNCED"}
    with (
        fake_api({"/v1/nodes": {"nodes": [node]}}) as fake,
        command_line(fake.address).terminal("get", "nodes", "--watch") as terminal,
    ):
        terminal.until("edge-1", "SYNCED")
        terminal.mark()
        fake.answers["/v1/nodes"] = {"nodes": [{**node, "status": "NACKED"}]}
        terminal.until("NACKED")
        assert "\x1b[1A" in terminal.raw, "over what was there"
        terminal.mark()
        fake.answers["/v1/nodes"] = (503, '{"detail": "Not now"}')
        terminal.until("NACKED", "Not now")
        fake.answers["/v1/nodes"] = {"nodes": [{**node, "status": "STALE"}]}
        terminal.until("STALE")
        terminal.mark()
        assert terminal.interrupt() == 0
        assert "Traceback" not in terminal.text
        assert "Abort" not in terminal.text
