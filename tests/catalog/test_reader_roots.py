"""What becomes of definitions when a root is missing, when the server starts, and when one reader follows another."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xds_server.catalog import on_disk
from xds_server.upstreams import documents

Text = Callable[..., str]
BROKEN = "upstreams: [{name: a, targets: [{host: 10.0.0.1, port: 70000}]}]\n"


class TestRoots:
    def test_a_directory_that_vanishes_or_turns_empty_takes_nothing_with_it(
        self, loaded: Any, folder: Path, text: Text
    ) -> None:
        away = folder.with_name("away")
        folder.rename(away)
        for _ in range(2):
            assert not loaded.scan().change
            assert loaded.told == [(folder.name, "")]
            assert loaded.last.problems[0].line == 0
            assert loaded.last.problems[0].message.endswith("(what was read from here before stays in force)")
            folder.mkdir(exist_ok=True)  # the second time it exists, and holds nothing
        (folder / "a.yaml").write_text(text("a", port=81))
        loaded.scan()
        assert (loaded.ports, loaded.told) == ({"a": 81}, [])

    def test_a_root_that_was_never_there_is_waited_for(self, folder: Path, reading: Any, text: Text) -> None:
        late = folder / "late"
        read = reading(late)
        assert not read.scan().ready
        (problem,) = read.last.problems
        assert problem.message.endswith("(it is waited for)")
        late.mkdir()
        (late / "a.yaml").write_text(text("a"))
        assert read.scan().ready

    def test_a_root_file_that_vanishes_takes_nothing_with_it(self, folder: Path, reading: Any, text: Text) -> None:
        one, other = folder / "one.yaml", folder / "other.yaml"
        one.write_text(text("a"))
        other.write_text(text("b"))
        read = reading(one, other)
        read.scan()
        one.unlink()
        other.write_text(text("b", port=81))
        read.scan()
        assert (read.ports, read.told) == ({"a": 80, "b": 81}, [("one.yaml", "")])
        one.write_text(text("a", port=82))
        read.scan()
        assert (read.ports, read.told) == ({"a": 82, "b": 81}, [])

    def test_a_relative_root(self, folder: Path, reading: Any, monkeypatch: pytest.MonkeyPatch, text: Text) -> None:
        monkeypatch.chdir(folder)
        (folder / "a.yaml").write_text(text("a"))
        read = reading(Path())
        assert read.scan().ready
        (folder / "a.yaml").unlink()
        assert not read.scan().change
        assert read.last.problems

    def test_a_file_that_can_neither_be_listed_nor_is_gone_keeps_its_definitions(
        self, loaded: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def others(root: str) -> list[Path]:
            return [path for path in documents.find_files(root) if path.name != "a.yaml"]

        monkeypatch.setattr(on_disk, "find_files", others)
        assert not loaded.scan().change
        assert loaded.told == [("a.yaml", "")]
        (folder / "a.yaml").unlink()
        assert loaded.scan().change.removed_upstreams == {"a"}


class TestStart:
    """Nothing is in force until everything was sound once."""

    @pytest.mark.parametrize("trouble", ["broken", "clash", "missing root", "empty root"])
    def test_any_problem_at_all_keeps_everything_back(
        self, folder: Path, reading: Any, text: Text, trouble: str
    ) -> None:
        (folder / "a.yaml").write_text(text("a"))
        second = folder.with_name("second")
        if trouble != "missing root":
            second.mkdir()
        if trouble in ("broken", "clash"):
            (second / "b.yaml").write_text(BROKEN if trouble == "broken" else text("a"))
        read = reading(folder, second)
        scan = read.scan()
        assert (scan.ready, bool(scan.problems), bool(scan.change), scan.upstreams) == (False, True, False, 0)
        second.mkdir(exist_ok=True)
        (second / "b.yaml").write_text(text("b"))
        scan = read.scan()
        assert (scan.ready, scan.problems, set(read.ports)) == (True, (), {"a", "b"})

    def test_files_that_say_none_are_sound(self, folder: Path, reading: Any, text: Text) -> None:
        (folder / "a.yaml").write_text(text())
        scan = reading(folder).scan()
        assert (scan.ready, scan.problems, len(scan.change)) == (True, (), 0)


class TestTakingOver:
    """A reader that goes on from what another one put in force."""

    def test_nothing_changed_is_no_change(self, loaded: Any) -> None:
        successor = loaded.successor()
        scan = successor.scan()
        assert (scan.ready, scan.problems, len(scan.change)) == (True, (), 0)

    def test_what_changed_in_between_is_found(self, loaded: Any, folder: Path, text: Text) -> None:
        (folder / "a.yaml").unlink()
        (folder / "b.yaml").write_text(text("b", port=81))
        successor = loaded.successor()
        change = successor.scan().change
        assert (change.removed_upstreams, set(change.upstreams)) == (frozenset({"a"}), {"b"})

    @pytest.mark.parametrize("content", [BROKEN, "upstreams:\n  - {name: b, targets: []}\n"], ids=["broken", "clash"])
    def test_a_refused_file_keeps_the_definitions_from_before(
        self, loaded: Any, folder: Path, text: Text, content: str
    ) -> None:
        (folder / "a.yaml").write_text(content)
        loaded.scan()
        successor = loaded.successor()
        assert not successor.scan().change
        assert successor.told == loaded.told
        (folder / "b.yaml").write_text(text("b", port=81))
        successor.scan()
        assert successor.ports == {"a": 80, "b": 81}

    def test_a_renamed_file_that_broke_keeps_them_too(self, loaded: Any, folder: Path) -> None:
        (folder / "a.yaml").rename(folder / "z.yaml")
        loaded.scan()
        (folder / "z.yaml").write_text(BROKEN)
        successor = loaded.successor()
        assert not successor.scan().change

    def test_a_vanished_root_keeps_them_too(self, loaded: Any, folder: Path) -> None:
        folder.rename(folder.with_name("away"))
        successor = loaded.successor()
        scan = successor.scan()
        assert (scan.ready, len(scan.change), len(scan.problems)) == (True, 0, 1)
