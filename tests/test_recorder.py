"""The recorder itself: a stream that breaks a rule, in each way that there is, is caught, and one that breaks none is not."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import recorder
from live import DELTA, ask, read
from recorder_mistakes import (
    answers_acks,
    asked_for_one,
    believes_what_was_never_written,
    breaks_first,
    empty_answers,
    everyday,
    leaves_out,
    leaves_out_the_culprit,
    no_nonce,
    no_type,
    nothing,
    odd_resource,
    of_before,
    refused_by_name,
    refused_together,
    removes_again,
    removes_what_exists,
    same_nonce,
    says_it_twice,
    sends_the_culprit_again,
    sends_what_was_rejected,
    stands_in_with_another,
    tries_for_ever,
    wants_everything,
    what_nobody_asked_for,
    wrong_order,
)
from recorder_stream import StreamRecord
from scripted_client import Client, client, cluster, endpoints, web

from xds_server.testing.server import XdsServerProcess
from xds_server.xds import CLUSTER, Resource, Snapshot
from xds_server.xds.delta import DeltaStream
from xds_server.xds.resource import length_delimited
from xds_server.xds.sotw import SotwStream

Patch = pytest.MonkeyPatch


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Framed(Resource):
    """One whose frames are not its own."""

    sotw: bytes = b""
    delta: bytes = b""

    @property
    def sotw_frame(self) -> bytes:
        return self.sotw

    @property
    def delta_frame(self) -> bytes:
        return self.delta


def framed(one: Resource, version: str, sotw: bytes, delta: bytes) -> Resource:
    return Framed(one.type_url, one.name, version, one.body, one.references, sotw, delta)


def with_frames_of(one: Resource, other: Resource) -> Resource:
    return framed(one, one.version, other.sotw_frame, other.delta_frame)


def without_version(resource: Resource) -> Resource:
    """As no caller could make it."""
    wrapped = length_delimited(1, resource.type_url.encode()) + length_delimited(2, resource.body)
    entry = length_delimited(2, wrapped) + length_delimited(3, resource.name.encode())
    return framed(resource, "", resource.sotw_frame, length_delimited(2, entry))


BOTH, SOTW, INCREMENTAL = (SotwStream, DeltaStream), (SotwStream,), (DeltaStream,)
MISTAKES: list[tuple[str, tuple[Any, ...], Callable[[Patch], None], Callable[[Client], None]]] = [
    ("S9: an empty nonce", BOTH, no_nonce, everyday),
    ("S9: nonce 1 for the second time", BOTH, same_nonce, everyday),
    ("S11: 'a' is a", BOTH, nothing, odd_resource(with_frames_of(cluster("a"), endpoints("a")))),
    ("'a' is not what the snapshot holds", BOTH, nothing, odd_resource(with_frames_of(cluster("a"), cluster("a", 2)))),
    (
        "D24: sent as 'b', named 'a'",
        INCREMENTAL,
        nothing,
        odd_resource(Resource.encode(CLUSTER, "b", cluster("a").body)),
    ),
    (
        "D22: 'a' without",
        INCREMENTAL,
        nothing,
        odd_resource(without_version(cluster("a"))),
    ),
    ("S45, D25: 'a' twice", BOTH, says_it_twice, everyday),
    ("S42: 'a' is missing", SOTW, leaves_out, everyday),
    ("S11: a response without a type", SOTW, no_type, everyday),
    ("S17, S20: the client was sent exactly this before", SOTW, answers_acks, everyday),
    ("S17, S20, D26, D30: 'a' was sent before", BOTH, answers_acks, everyday),
    ("S17, S20", BOTH, sends_what_was_rejected, everyday),
    ("S20, D30, B1: ['a', 'b', 'c', 'd'] once more", BOTH, tries_for_ever, refused_together),
    ("S17, S20: the client was sent exactly this before", SOTW, sends_the_culprit_again, refused_by_name),
    ("S17, S20, D26, D30: 'a' was sent before", BOTH, sends_the_culprit_again, refused_by_name),
    ("S42: 'a' is missing, which deletes it", SOTW, leaves_out_the_culprit, refused_by_name),
    ("'a' is not what the snapshot holds", SOTW, stands_in_with_another, refused_by_name),
    ("S17, S20, S44: an empty response", SOTW, empty_answers, everyday),
    ("D27: 'a' is said to be gone, and exists", INCREMENTAL, removes_what_exists, everyday),
    ("D9, D28: 'a' is said to be gone again", INCREMENTAL, removes_again, everyday),
    ("D9, D28: 'c' is said to be gone", INCREMENTAL, wants_everything, asked_for_one),
    ("S41, D28: 'b' was not asked for", BOTH, wants_everything, asked_for_one),
    ("S55, S60, B35, B36: cluster 'c'", BOTH, wrong_order, everyday),
    ("S55, S56, D33: cluster 'a' is taken away", BOTH, breaks_first, everyday),
    ("S16: something is said", BOTH, believes_what_was_never_written, of_before),
    ("D50: nobody asked", SOTW, what_nobody_asked_for, everyday),
]
ROWS = [
    pytest.param(row[0], kind, *row[2:], id=f"{number}-{row[2].__name__}-{kind.variant}")
    for number, row in enumerate(MISTAKES)
    for kind in row[1]
]


@pytest.mark.parametrize(("words", "kind", "mistake", "script"), ROWS)
def test_a_mistake_is_caught(words: str, kind: Any, mistake: Any, script: Any, monkeypatch: Patch) -> None:
    mistake(monkeypatch)
    with recorder.diverted() as violations:
        made = client(kind)
        try:
            script(made)
        except AssertionError:  # the scripted client has a few rules of its own
            assert violations
    assert any(words in violation for violation in violations), violations
    assert "-> " in violations[0], "with the story of the stream"


@pytest.mark.parametrize("kind", BOTH, ids=["sotw", "delta"])
@pytest.mark.parametrize("script", [everyday, asked_for_one, refused_together, refused_by_name, of_before])
def test_without_a_mistake_nothing_is_caught(kind: Any, script: Any) -> None:
    with recorder.diverted() as violations:
        script(client(kind))
    assert violations == []


def test_a_mistake_of_the_recorders_own_is_told_and_leaves_the_stream_alone(monkeypatch: Patch) -> None:
    monkeypatch.setattr(StreamRecord, "check", lambda self, *arguments: 1 / 0)
    made = client(SotwStream)
    with recorder.diverted() as violations:
        made.publish(Snapshot.of(web("a")))
        assert len(made.want(CLUSTER)) == 1
    assert "the recorder failed" in violations[0]
    assert "ZeroDivisionError" in violations[0]


SERVER = """
import recorder
from xds_server.cli import main
from xds_server.xds.watch import Watch

answer = Watch.answer

def and_sends_again(self, nonce, detail, version=""):
    answered = answer(self, nonce, detail, version)
    if answered is not None:
        self.owed |= set(answered.response.names)
    return answered

Watch.answer = and_sends_again
recorder.install()
main()
"""


async def test_a_mistake_in_a_server_process_is_caught(tmp_path: Path, monkeypatch: Patch) -> None:
    assert XdsServerProcess.command[-1].endswith("recorded_server.py"), "in all tests"
    found = tmp_path / "found"
    found.mkdir()
    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "a.yaml").write_text("upstreams: [{name: a, targets: []}]")
    monkeypatch.setenv(recorder.DIRECTORY, str(found))
    monkeypatch.setenv("PYTHONPATH", str(Path(recorder.__file__).parent))
    monkeypatch.setattr(XdsServerProcess, "command", (sys.executable, str(tmp_path / "server.py")))

    async def talk(address: str) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            call = await ask(channel, DELTA)
            for _ in range(2):
                answer = await read(call, delta=True)
                await call.write(answer_to(answer))

    def answer_to(response: Any) -> bytes:
        return DeltaStream.request(type_url=CLUSTER, response_nonce=response.nonce).SerializeToString()

    with XdsServerProcess(tmp_path / "a.yaml") as server:
        await talk(server.xds_address)
        async with asyncio.timeout(10):
            while not (violations := recorder.collect(found)):
                await asyncio.sleep(0.01)
    assert "S17" in violations[0]
    assert "node 'n'" in violations[0]


TEST = """
from scripted_client import client, cluster
from xds_server.xds import CLUSTER, Resource, Snapshot
from xds_server.xds.resource import length_delimited
from xds_server.xds.sotw import SotwStream

def test_itself_is_happy():
    made = client(SotwStream)
    made.publish(Snapshot.of([Resource.encode(CLUSTER, "b", cluster("a").body)]))
    made.stream.receive(made.stream.request(type_url=CLUSTER, node={"id": "n"}))
    assert made.stream.respond(1.0)

def test_another_is_not_blamed():
    pass
"""


def test_a_violation_fails_the_test_in_which_it_happens(tmp_path: Path, root: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEST)
    (tmp_path / "conftest.py").write_text(
        "import importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('suite', {str(root / 'tests' / 'conftest.py')!r})\n"
        "suite = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(suite)\n"
        "globals().update({name: value for name, value in vars(suite).items() if not name.startswith('__')})\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(root)]
    run = subprocess.run(
        [*command, "-c", str(root / "pyproject.toml"), str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 1
    assert "2 passed, 1 error" in run.stdout
    assert "ERROR" in run.stdout
    assert "test_itself_is_happy" in run.stdout
    assert "D27: 'a' does not exist" in run.stdout
