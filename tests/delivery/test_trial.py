"""What is made of the words of an Envoy that loads definitions, and of one that hangs, is not there, or has much to do."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from xds_server.cli import with_envoy
from xds_server.cli.errors import CommandError
from xds_server.delivery import trial
from xds_server.delivery.checking import check_files
from xds_server.delivery.trial import Refusal, Trial, TrialBusyError, TrialError, Trials
from xds_server.envoy_binary import EnvoyNotFoundError
from xds_server.upstreams.model import Gateway, Upstream

U, OTHER = Upstream(name="u"), Upstream(name="other")


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in the place of Envoy: the path of the bootstrap is its fourth argument."""
    script = tmp_path / "envoy"
    script.touch(0o755)
    monkeypatch.setattr(trial, "find_envoy", lambda: script)
    return script


async def load(script: Path, stderr: str) -> str | None:
    script.write_text(f"#!/bin/sh\ncat >&2 <<END\n{stderr}\nEND\nexit 1\n")
    return await trial.load(b"")


async def test_the_first_line_of_what_it_refuses(says: Path) -> None:
    told = "error initializing configuration '$4': no such thing: goo.gle/debugonly  \nvalue {\n}\n"
    assert await load(says, f"a warning: about 'this': and that\n\n{told}") == "no such thing"


@pytest.mark.parametrize("lines", [1, 50_000])
async def test_what_follows_the_whole_configuration(says: Path, lines: int) -> None:
    dump = "".join(f"node {{\n  id: x{number}\n}}\n" for number in range(lines))
    told = f"error initializing configuration '$4': goo.gle/debugstr    \n{dump}: Proto constraint (a: b)\n"
    assert await load(says, told) == "Proto constraint (a: b)"


async def test_the_copy_of_a_cluster_goes_by_the_clusters_name(says: Path) -> None:
    told = "error initializing configuration '$4': cluster 'shop-1:endpoints': no such :endpoints"
    assert await load(says, told) == "cluster 'shop-1': no such :endpoints"


@pytest.mark.parametrize(("stderr", "words"), [("Killed\nat 5", "Killed"), ("", "it ended with code 1 and no word")])
async def test_other_ends(says: Path, stderr: str, words: str) -> None:
    assert await load(says, stderr) == words


def test_an_envoy_that_does_not_end_is_one_sentence(
    says: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(with_envoy, "TIMEOUT", 0.1)
    says.write_text("#!/bin/sh\nexec sleep 30\n")
    (tmp_path / "a.yaml").write_text("upstreams: [{name: a}]\n")
    with pytest.raises(CommandError, match=r"not loaded the definitions after 0\.1 s"):
        with_envoy.check_with_envoy(check_files([tmp_path / "a.yaml"]))


async def test_for_a_server_it_ends_in_time_and_holds_nobody_up(says: Path, tmp_path: Path) -> None:
    says.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 30\n")
    trials = Trials(within=0.5)
    asked, start = asyncio.create_task(trials([U])), time.monotonic()
    ticks = 0
    while not asked.done():
        began = time.monotonic()
        await asyncio.sleep(0.01)
        ticks += time.monotonic() - began < 0.1
    with pytest.raises(TrialError, match=r"had not loaded 1 definition\(s\) after 0\.5 s"):
        await asked
    assert ticks > 20
    assert time.monotonic() - start < 10, "it was ended, not waited for"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_who_hangs_up_ends_it(says: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    says.write_text(f"#!/bin/sh\necho $$ > {pid}.new\nmv {pid}.new {pid}\nexec sleep 30\n")
    asked = asyncio.create_task(Trials()([U]))
    async with asyncio.timeout(10):
        while not pid.exists():
            await asyncio.sleep(0.01)
    asked.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await asked
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


async def test_one_at_a_time_and_no_long_queue(says: Path, tmp_path: Path) -> None:
    # A second one at the same time would find the directory there.
    says.write_text(f"#!/bin/sh\nmkdir {tmp_path}/turn || exit 1\nsleep 0.05\nrmdir {tmp_path}/turn\n")
    trials = Trials(waiting=3)
    asked = [asyncio.create_task(trials([U])) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(TrialBusyError, match="3 others wait already"):
        await trials([U])
    assert {found.refusals for found in await asyncio.gather(*asked)} == {()}
    assert (await trials([U])).refusals == (), "and then there is room again"


async def test_no_envoy_and_one_that_cannot_be_run(says: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says.chmod(0o644)
    with pytest.raises(TrialError, match="cannot be run: Permission denied"):
        await Trials()([U])

    def none() -> Path:
        raise EnvoyNotFoundError("no Envoy binary anywhere")

    monkeypatch.setattr(trial, "find_envoy", none)
    with pytest.raises(TrialError, match=r"this server has no Envoy .*no Envoy binary anywhere.*validate --with-envoy"):
        await Trials()([U])


async def test_it_sees_nothing_of_the_servers_environment(says: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDS_SERVER_STORE", "postgresql://xds:secret@db/xds")
    says.write_text('#!/bin/sh\n[ "$1" = --version ] && exit\necho "with $XDS_SERVER_STORE"\nexit 1\n')
    assert (await Trials()([U])).refusals == (Refusal(("upstream", "u"), "with"),)


async def test_what_it_refuses_only_together(says: Path) -> None:
    # Two clusters and their copies, the control plane's and the list of them are longer than one.
    says.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exit\n'
        'grep -q other "$4" && grep -q "cluster of u" "$4" && echo no two && exit 1\nexit 0\n'
    )
    described = Upstream(name="u", envoy={"alt_stat_name": "cluster of u"})
    assert await Trials()([described, OTHER]) == Trial("", 2, (Refusal(None, "no two"),))


@pytest.mark.envoy
async def test_a_real_one_finds_the_culprits_among_others() -> None:
    size = {"@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.maglev.v3.Maglev", "table_size": 100}
    policy = {"policies": [{"typed_extension_config": {"name": "maglev", "typed_config": size}}]}
    odd = Upstream(name="odd", envoy={"load_balancing_policy": policy})
    named = Upstream.model_validate({"name": "named", "targets": [{"host": "db.example", "port": 80}]})
    gateway = Gateway(name="tcp", address="0.0.0.0", port=5432, upstream="elsewhere")
    found = await Trials()([named, odd, gateway])
    assert found.version.startswith("1.")
    ((key, words),) = found.refusals
    assert key == ("upstream", "odd")
    assert "prime" in words
