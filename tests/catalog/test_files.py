"""A running file source: real files, the real child process, the real watch."""

import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from xds_server.catalog import child
from xds_server.catalog.files import FileSource

Text = Callable[..., str]
Follow = Callable[..., AbstractAsyncContextManager[Any]]
BROKEN = "upstreams: [{name: a, targets: [{host: 10.0.0.1, port: 70000}]}]\n"


async def test_edit_add_rename_and_delete(tmp_path: Path, follow: Follow, text: Text) -> None:
    (tmp_path / "a.yaml").write_text(text("a"))
    async with follow(tmp_path) as files:
        assert files.ports == {"a": 80}
        (tmp_path / "a.yaml").write_text(text("a", port=81))
        await files.until(lambda: files.ports == {"a": 81})
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "b.yml").write_text(text("b"))
        await files.until(lambda: files.ports == {"a": 81, "b": 80})
        (tmp_path / "a.yaml").rename(tmp_path / "sub" / "a.yaml")
        await files.until(lambda: files.definitions.upstreams["a"].source.endswith("sub/a.yaml"))
        (tmp_path / "sub" / "b.yml").unlink()
        await files.until(lambda: files.ports == {"a": 81})
        assert [set(change.removed_upstreams) for change in files.changes if change.removed_upstreams] == [{"b"}]
        assert files.source.problems == ()


async def test_how_editors_save(tmp_path: Path, follow: Follow, text: Text) -> None:
    file, copy = tmp_path / "a.yaml", tmp_path / "a.yaml~"
    file.write_text(text("a"))
    async with follow(tmp_path) as files, follow(file) as single:
        (tmp_path / ".a.yaml.tmp").write_text(text("a", port=81))  # written beside and renamed over
        (tmp_path / ".a.yaml.tmp").replace(file)
        await files.until(lambda: files.ports == {"a": 81})
        await single.until(lambda: single.ports == {"a": 81})
        file.rename(copy)  # vim: moved away, written anew, and the copy removed
        file.write_text(text("a", port=82))
        copy.unlink()
        await files.until(lambda: files.ports == {"a": 82})
        await single.until(lambda: single.ports == {"a": 82})
        file.write_text(text("a", port=83))  # in place
        await files.until(lambda: files.ports == {"a": 83})
        await single.until(lambda: single.ports == {"a": 83})
        assert not any(change.removed_upstreams for change in (*files.changes, *single.changes))


async def test_how_kubernetes_swaps_a_config_map(tmp_path: Path, follow: Follow, text: Text) -> None:
    def publish(version: str, **files: str) -> None:
        (tmp_path / f"..{version}").mkdir()
        for name, content in files.items():
            (tmp_path / f"..{version}" / f"{name}.yaml").write_text(content)
        (tmp_path / "..data_tmp").symlink_to(f"..{version}")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        for name in files:
            if not (tmp_path / f"{name}.yaml").is_symlink():
                (tmp_path / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")

    publish("v1", a=text("a"), b=text("b"))
    async with follow(tmp_path) as files:
        publish("v2", a=text("a", "b", port=81), b=text("c", port=81))  # an upstream moves between the files
        await files.until(lambda: files.ports == {"a": 81, "b": 81, "c": 81})
        assert not any(change.removed_upstreams for change in files.changes)
        assert files.source.problems == ()


async def test_a_root_that_is_a_link_is_pointed_elsewhere(tmp_path: Path, follow: Follow, text: Text) -> None:
    for number in (1, 2):
        (tmp_path / f"release{number}").mkdir()
        (tmp_path / f"release{number}" / "a.yaml").write_text(text("a", port=80 + number))
    root, new = tmp_path / "current", tmp_path / "new"
    root.symlink_to("release1")
    async with follow(root) as files:
        new.symlink_to("release2")
        new.replace(root)
        await files.until(lambda: files.ports == {"a": 82})
        (tmp_path / "release2" / "a.yaml").write_text(text("a", port=83))
        await files.until(lambda: files.ports == {"a": 83})


async def test_a_problem_is_told_once_and_so_is_its_end(tmp_path: Path, follow: Follow, text: Text) -> None:
    a, b = tmp_path / "a.yaml", tmp_path / "b.yaml"
    a.write_text(text("a"))
    b.write_text(text("b"))
    async with follow(tmp_path) as files:
        a.write_text(BROKEN)
        await files.until(lambda: files.source.problems)
        for port in (81, 82):  # each is another look at the broken file
            b.write_text(text("b", port=port))
            await files.until(lambda port=port: files.ports == {"a": 80, "b": port})
        assert files.said("definitions.broken", file=str(a), line=1, field="upstreams[0].targets[0].port") == 1
        a.write_text(text("a", port=83))
        await files.until(lambda: files.ports == {"a": 83, "b": 82})
        assert (files.said("definitions.broken"), files.said("definitions.mended", file=str(a))) == (1, 1)
        assert files.source.problems == ()


async def test_two_files_with_one_upstream(tmp_path: Path, follow: Follow, text: Text) -> None:
    (tmp_path / "a.yaml").write_text(text("x"))
    (tmp_path / "b.yaml").write_text(text("x"))
    async with follow(tmp_path, loaded=False) as files:
        await files.until(lambda: files.said("definitions.not_served"))
        assert (files.source.ready.is_set(), files.changes) == (False, [])
        assert files.said("definitions.broken", file=str(tmp_path / "b.yaml")) == 1
        (tmp_path / "b.yaml").write_text(text("b"))
        await files.until(files.source.ready.is_set)
        assert files.ports == {"x": 80, "b": 80}
        (tmp_path / "a.yaml").write_text(text("x", "b", port=81))
        await files.until(lambda: files.source.problems)
        assert files.said("definitions.broken", file=str(tmp_path / "a.yaml")) == 1
        assert files.ports == {"x": 80, "b": 80}


async def test_files_that_say_none_are_announced_too(tmp_path: Path, follow: Follow, text: Text) -> None:
    (tmp_path / "a.yaml").write_text(text())
    async with follow(tmp_path) as files:
        assert [len(change) for change in files.changes] == [0]


async def test_a_directory_vanishes_comes_back_and_turns_empty(tmp_path: Path, follow: Follow, text: Text) -> None:
    root, away = tmp_path / "root", tmp_path / "away"
    root.mkdir()
    (root / "a.yaml").write_text(text("a"))
    async with follow(root) as files:
        root.rename(away)
        await files.until(lambda: files.said("definitions.broken", file=str(root)))
        away.rename(root)
        await files.until(lambda: files.said("definitions.mended", file=str(root)))
        (root / "a.yaml").write_text(text("a", port=81))
        await files.until(lambda: files.ports == {"a": 81})
        (root / "a.yaml").unlink()
        await files.until(lambda: files.said("definitions.broken", file=str(root)) == 2)
        (root / "b.yaml").write_text(text("b"))
        await files.until(lambda: files.ports == {"b": 80})


async def test_a_root_that_does_not_exist_yet(tmp_path: Path, follow: Follow, text: Text) -> None:
    root = tmp_path / "later"
    async with follow(root, loaded=False) as files:
        await files.until(lambda: files.said("definitions.broken", file=str(root)))
        root.mkdir()
        (root / "a.yaml").write_text(text("a"))
        await files.until(files.source.ready.is_set)
        assert files.ports == {"a": 80}


async def test_a_root_file_vanishes(tmp_path: Path, follow: Follow, text: Text) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text("a"))
    async with follow(file) as files:
        file.unlink()
        await files.until(lambda: files.source.problems)
        assert files.ports == {"a": 80}
        file.write_text(text("a", port=81))
        await files.until(lambda: files.ports == {"a": 81} and not files.source.problems)


async def test_a_file_of_17_mib_is_refused(tmp_path: Path, follow: Follow, text: Text) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text("a"))
    async with follow(tmp_path) as files:
        with file.open("a") as growing:
            growing.write("#" * (17 << 20))
        await files.until(lambda: files.source.problems)
        assert "16 MiB" in files.source.problems[0].message
        assert files.ports == {"a": 80}


async def test_the_child_is_killed_and_nothing_is_lost(tmp_path: Path, follow: Follow, text: Text) -> None:
    for name in "abc":
        (tmp_path / f"{name}.yaml").write_text(text(name))
    async with follow(tmp_path) as files:
        (tmp_path / "a.yaml").write_text(BROKEN)
        await files.until(lambda: files.source.problems)
        first = files.source.child_pid
        os.kill(first, signal.SIGKILL)
        (tmp_path / "b.yaml").write_text(text("b", port=81))  # while there is no child
        (tmp_path / "c.yaml").unlink()
        await files.until(lambda: files.ports == {"a": 80, "b": 81})
        assert files.source.child_pid not in (None, first)
        assert [(set(change.upstreams), set(change.removed_upstreams)) for change in files.changes[1:]] == [
            ({"b"}, {"c"})
        ]
        (tmp_path / "b.yaml").write_text(text("b", port=82))
        await files.until(lambda: files.ports == {"a": 80, "b": 82})
        assert (files.said("definitions.reader_died"), files.said("definitions.broken")) == (1, 1)


async def test_the_child_is_killed_before_anything_was_sound(tmp_path: Path, follow: Follow, text: Text) -> None:
    (tmp_path / "a.yaml").write_text(BROKEN)
    async with follow(tmp_path, loaded=False) as files:
        await files.until(lambda: files.source.problems)
        os.kill(files.source.child_pid, signal.SIGKILL)
        await files.until(lambda: files.said("definitions.reader_died"))
        (tmp_path / "a.yaml").write_text(text("a"))
        await files.until(files.source.ready.is_set)
        assert (files.ports, len(files.changes)) == ({"a": 80}, 1)


async def test_the_child_ends_with_the_source(tmp_path: Path, follow: Follow, text: Text) -> None:
    (tmp_path / "a.yaml").write_text(text("a"))
    async with follow(tmp_path) as files:
        pid = files.source.child_pid
    assert files.source.child_pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("started", [False, True], ids=["before it was told anything", "while it watches"])
async def test_the_child_ends_in_silence_when_its_parent_is_gone(
    tmp_path: Path, text: Text, capfd: pytest.CaptureFixture[str], started: bool
) -> None:
    (tmp_path / "a.yaml").write_text(text("a"))
    async with child.running_child() as reader:
        if started:
            await reader.start((str(tmp_path),), None)
            assert (await reader.next_scan()).ready
        reader._input.close()
        with pytest.raises(child.ReaderDiedError, match="exit status 0"):
            await reader.next_scan()
    assert capfd.readouterr() == ("", "")


async def test_a_failure_of_who_is_told_ends_the_source(tmp_path: Path, text: Text) -> None:
    async def refuse(_: object) -> None:
        raise ZeroDivisionError

    (tmp_path / "a.yaml").write_text(text("a"))
    source = FileSource([tmp_path], refuse)
    with pytest.raises(ZeroDivisionError):
        await source.run()
    assert not source.ready.is_set()
