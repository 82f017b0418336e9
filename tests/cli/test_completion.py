"""What shells complete: commands, options, and what a server has, where it answers at once."""

import json
import os
import pty
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import CommandLine
from fake_api import fake_api
from forked_commands import ForkedCommands

from xds_server.cli.completing import PATIENCE, rejoined
from xds_server.testing.server import XdsServerProcess

Commands = Callable[..., CommandLine]
SCRIPTS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def filled(cli: CommandLine) -> CommandLine:
    document = {
        "upstreams": [
            {"name": "payments", "targets": [{"host": "127.0.0.1", "port": port} for port in (8001, 8002, 9001)]},
            {"name": "parcels", "targets": [{"host": "fd00::1", "port": 80}]},
            {"name": "other", "targets": []},
        ],
        "gateways": [{"name": "public", "port": 10000}],
    }
    cli.ok("apply", "-f", "-", "-m", "first of all", stdin=json.dumps(document))
    return cli


def complete(cli: CommandLine, forked: ForkedCommands, shell: str, *words: str, **more: str) -> list[str]:
    """What a shell is given for the last of `words`."""
    if shell == "bash":
        asked = {"COMP_WORDS": "\n".join(("xds-server", *words)), "COMP_CWORD": str(len(words))}
    else:
        asked = {"_TYPER_COMPLETE_ARGS": " ".join(("xds-server", *words)), "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    env = {**cli.env, **asked, "_XDS_SERVER_COMPLETE": f"complete_{shell}", **more}
    done = forked.run([], env)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition("\t")[0] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_names_come_from_the_server(filled: CommandLine, forked: ForkedCommands, shell: str) -> None:
    def ask(*words: str) -> list[str]:
        return complete(filled, forked, shell, *words)

    assert ask("drain", "pa") == ["parcels", "payments"]
    assert ask("drain", "") == ["other", "parcels", "payments"]
    assert ask("get", "targets", "pay") == ["payments"]
    assert ask("delete", "gateway", "") == ["public"]
    assert ask("weight", "payments", "127") == ["127.0.0.1:8001", "127.0.0.1:8002", "127.0.0.1:9001"]
    assert ask("enable", "parcels", "") == ["[fd00::1]:80"]
    assert ask("enable", "nobody", "") == []
    assert ask("rollback", "") == ["1"]
    assert "confirm" in ask("con")
    assert ask("get", "upstreams", "-o", "") == ["table", "yaml", "json"]
    assert ask("drain", "payments", "--expires", "") == []


def test_a_server_that_does_not_answer_keeps_nobody_waiting(command_line: Commands, forked: ForkedCommands) -> None:
    with fake_api({}) as fake:
        for address in ("127.0.0.1:1", "not an address", fake.address):
            assert complete(command_line(address), forked, "fish", "drain", "") == []
        fake.answers["/v1/upstreams"] = ["no object"]
        assert complete(command_line(fake.address), forked, "fish", "drain", "") == []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cli = command_line(f"127.0.0.1:{silent.getsockname()[1]}")
        begin = time.monotonic()
        assert complete(cli, forked, "fish", "drain", "") == []
        assert PATIENCE <= time.monotonic() - begin < 10


def test_completion_asks_the_server_that_the_command_is_for(
    server: XdsServerProcess, filled: CommandLine, command_line: Commands, forked: ForkedCommands
) -> None:
    nowhere = command_line("127.0.0.1:1")
    assert complete(nowhere, forked, "fish", "drain", "--server", server.http_address, "par") == ["parcels"]
    with fake_api({"/v1/upstreams": {"upstreams": [{"name": "a"}]}}) as fake:
        assert complete(command_line(fake.address, XDS_SERVER_TOKEN="t"), forked, "fish", "drain", "") == ["a"]
        assert fake.asked[-1].headers["authorization"] == "Bearer t"


@pytest.mark.parametrize(
    ("words", "current", "expected"),
    [
        ("x drain pay", 2, ("x drain pay", 2, "")),
        ("x drain a 10.0.0.1 : 80", 5, ("x drain a 80", 3, "10.0.0.1:")),
        ("x drain a 10.0.0.1 :", 4, ("x drain a ", 3, "10.0.0.1:")),
        ("x drain a [fd00 :: 1] : 8", 7, ("x drain a 8", 3, "[fd00::1]:")),
        ("x --server = http : //h : 1 drain p", 9, ("x --server=http://h:1 drain p", 3, "")),
        ("x drain ", 2, ("x drain ", 2, "")),
        ("x drain", 2, ("x drain ", 2, "")),
    ],
)
def test_words_that_bash_broke_apart(words: str, current: int, expected: tuple[str, int, str]) -> None:
    whole, index, before = rejoined(words.split(" "), current)
    assert (" ".join(whole), index, before) == expected


def test_in_a_real_bash(filled: CommandLine) -> None:
    """TAB, as people press it: also behind a colon, which is the end of a word to bash."""
    ours, theirs = pty.openpty()
    env = {**filled.env, "PATH": f"{SCRIPTS}:{os.environ['PATH']}", "PS1": "$ ", "TERM": "dumb"}
    shell = ["bash", "--norc", "--noprofile", "-i"]
    drawn = ""

    def until(text: str) -> None:
        nonlocal drawn
        deadline = time.monotonic() + 60
        while text not in drawn:
            assert time.monotonic() < deadline, f"no {text!r} in {drawn!r}"
            if select.select([ours], [], [], 1)[0]:
                drawn += os.read(ours, 65_536).decode(errors="replace").replace("\x07", "")

    def press(keys: str) -> None:
        nonlocal drawn
        drawn = ""
        os.write(ours, keys.encode())

    with subprocess.Popen(shell, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True) as bash:
        os.close(theirs)
        try:
            until("$ ")
            press('eval "$(xds-server --show-completion)"; echo do""ne\n')
            until("done")
            press("xds-server drain pay\t")
            until("payments ")
            press("1\t")
            until("127.0.0.1:")
            press("9\t")
            until("9001 ")
            press("\x15xds-server drain payments 127.0.0.1:80\t")
            until("127.0.0.1:800")
            press("2\t; exit\n")
            until("exit")
        finally:
            bash.kill()
    os.close(ours)
