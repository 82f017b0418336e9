"""The rules of reading, without a process and without waiting: a file is edited, and the next scan is judged."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xds_server.catalog import on_disk
from xds_server.upstreams import documents

Text = Callable[..., str]
GATEWAY = "gateways:\n  - {name: db, port: 5432, upstream: postgres}\n"
POSTGRES = "upstreams:\n  - {name: postgres, protocol: tcp, targets: [{host: 10.0.0.1, port: 5432}]}\n"
BROKEN = "upstreams: [{name: a, targets: [{host: 10.0.0.1, port: 70000}]}]\n"


def test_edit_add_delete_and_rename(loaded: Any, folder: Path, text: Text) -> None:
    assert not loaded.scan().change
    (folder / "a.yaml").write_text(text("a", port=81))
    assert (set(loaded.scan().change.upstreams), loaded.ports) == ({"a"}, {"a": 81, "b": 80})
    (folder / "c.json").write_text('{"upstreams": [{"name": "c", "targets": [{"host": "10.0.0.1", "port": 8}]}]}')
    assert (set(loaded.scan().change.upstreams), loaded.ports["c"]) == ({"c"}, 8)
    (folder / "c.json").unlink()
    assert loaded.scan().change.removed_upstreams == {"c"}
    (folder / "a.yaml").rename(folder / "z.yaml")
    change = loaded.scan().change
    assert (change.removed_upstreams, change.upstreams["a"].source) == (frozenset(), str(folder / "z.yaml"))


def test_only_what_changed_is_parsed_again(
    loaded: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, text: Text
) -> None:
    parsed: list[str] = []

    def noted(data: bytes, path: str, inspect: documents.Inspect) -> object:
        parsed.append(Path(path).name)
        return documents.parse(data, path, inspect)

    monkeypatch.setattr(on_disk, "parse", noted)
    os.utime(folder / "a.yaml")
    (folder / "copy").write_text(text("b"))
    (folder / "copy").replace(folder / "b.yaml")
    loaded.scan()
    assert parsed == []  # another time, another inode, but the same words
    (folder / "b.yaml").write_text(text("b", port=81))
    loaded.scan()
    assert parsed == ["b.yaml"]


def test_an_edit_that_no_time_and_no_size_tells_of_is_seen(
    loaded: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, text: Text
) -> None:
    file = folder / "a.yaml"
    monkeypatch.setattr(on_disk, "_signature", lambda path: (1, 1, 1, 10**30, 1, 0o100644))  # a clock with coarse steps
    loaded.scan()
    file.write_text(text("a", port=81))
    loaded.scan()
    assert loaded.ports["a"] == 81


def test_a_settled_file_is_not_even_opened(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_disk, "SETTLED", 0)
    loaded.scan()
    monkeypatch.setattr(on_disk, "_data", lambda path, signature: pytest.fail(f"{path} was opened"))
    assert not loaded.scan().change


def test_a_broken_file_keeps_its_last_good_definitions_while_others_go_on(
    loaded: Any, folder: Path, text: Text
) -> None:
    for content in (BROKEN, "", "upstreams: [\n"):
        (folder / "a.yaml").write_text(content)
        assert not loaded.scan().change
        assert {name for name, _ in loaded.told} == {"a.yaml"}
    (folder / "b.yaml").write_text(text("b", port=81))
    loaded.scan()
    assert (loaded.ports, loaded.told[0][0]) == ({"a": 80, "b": 81}, "a.yaml")
    (folder / "a.yaml").write_text(text("a", port=82))
    loaded.scan()
    assert (loaded.ports, loaded.told) == ({"a": 82, "b": 81}, [])


def test_the_emptied_list_says_none(loaded: Any, folder: Path, text: Text) -> None:
    (folder / "a.yaml").write_text(text())
    assert loaded.scan().change.removed_upstreams == {"a"}
    (folder / "b.yaml").write_text(text())
    loaded.scan()
    assert (loaded.ports, loaded.told, loaded.last.ready) == ({}, [], True)


def test_of_two_files_with_one_upstream_the_newly_changed_one_gives_way(loaded: Any, folder: Path, text: Text) -> None:
    (folder / "a.yaml").write_text(text("a", "b", port=81))
    (folder / "c.yaml").write_text(text("c"))
    loaded.scan()
    assert (loaded.ports, [name for name, _ in loaded.told]) == ({"a": 80, "b": 80, "c": 80}, ["a.yaml"])
    (folder / "c.yaml").write_text(text("c", port=81))  # the refused file stays refused, and keeps nobody else
    loaded.scan()
    assert (loaded.ports, [name for name, _ in loaded.told]) == ({"a": 80, "b": 80, "c": 81}, ["a.yaml"])
    (folder / "b.yaml").write_text(text())  # and goes live as soon as nothing speaks against it
    loaded.scan()
    assert (loaded.ports, loaded.told) == ({"a": 81, "b": 81, "c": 81}, [])


def test_two_new_files_with_one_upstream_both_give_way(loaded: Any, folder: Path, text: Text) -> None:
    for name in ("c", "d"):
        (folder / f"{name}.yaml").write_text(text("x"))
    assert not loaded.scan().change
    assert [name for name, _ in loaded.told] == ["d.yaml"]
    (folder / "c.yaml").unlink()
    loaded.scan()
    assert (set(loaded.ports), loaded.told) == ({"a", "b", "x"}, [])


def test_giving_way_can_lead_to_another_clash(loaded: Any, folder: Path, text: Text) -> None:
    (folder / "a.yaml").write_text(text("n", "b"))  # clashes with b.yaml, so a stays in force ...
    (folder / "c.yaml").write_text(text("a"))  # ... with which this one clashes
    (folder / "d.yaml").write_text(text("d"))
    loaded.scan()
    assert loaded.ports == {"a": 80, "b": 80, "d": 80}
    assert [name for name, _ in loaded.told] == ["a.yaml", "c.yaml"]


def test_which_upstreams_there_are_beside_the_files_is_not_known_here(folder: Path, reading: Any, text: Text) -> None:
    """`FileRecords` and the catalogue say whether a gateway may be without one."""
    (folder / "gateway.yaml").write_text(GATEWAY)
    (folder / "postgres.yaml").write_text(POSTGRES)
    (folder / "other.yaml").write_text(text("other"))
    read = reading(folder)
    read.scan()
    (folder / "postgres.yaml").unlink()
    (folder / "other.yaml").write_text(text("other", port=81))
    read.scan()
    assert (read.ports, read.told) == ({"other": 81}, [])
    (folder / "gateway.yaml").write_text("gateways: []\n")
    change = read.scan().change
    assert (change.removed_upstreams, change.removed_gateways, read.told) == (frozenset(), frozenset({"db"}), [])


def test_an_upstream_may_move_between_files(loaded: Any, folder: Path, text: Text) -> None:
    (folder / "a.yaml").write_text(text())
    (folder / "b.yaml").write_text(text("a", "b"))
    change = loaded.scan().change
    assert (change.removed_upstreams, set(change.upstreams), loaded.told) == (frozenset(), {"a"}, [])


def test_the_holder_of_an_upstream_is_edited_while_another_file_claims_it(
    loaded: Any, folder: Path, text: Text
) -> None:
    (folder / "a.yaml").write_text(text("a", "b"))
    loaded.scan()
    (folder / "b.yaml").write_text(text("b", port=81))
    loaded.scan()
    assert (loaded.ports, [name for name, _ in loaded.told]) == ({"a": 80, "b": 81}, ["a.yaml"])


def test_what_moves_while_it_is_read_is_not_missed(
    loaded: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, text: Text
) -> None:
    """The upstream of b.yaml moves to a.yaml when a.yaml was read already: it must not be seen in neither."""
    (folder / "a.yaml").write_text(text("a", port=81))

    def and_then_moved(data: bytes, path: str, inspect: documents.Inspect) -> object:
        monkeypatch.setattr(on_disk, "parse", documents.parse)
        (folder / "b.yaml").write_text(text())
        (folder / "a.yaml").write_text(text("a", "b", port=81))
        return documents.parse(data, path, inspect)

    monkeypatch.setattr(on_disk, "parse", and_then_moved)
    change = loaded.scan().change
    assert (change.removed_upstreams, loaded.ports) == (frozenset(), {"a": 81, "b": 81})


def test_a_tree_that_never_rests_is_read_all_the_same(
    loaded: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, text: Text
) -> None:
    ports = iter(range(1000, 2000))

    def always_edited(data: bytes, path: str, inspect: documents.Inspect) -> object:
        (folder / "a.yaml").write_text(text("a", port=next(ports)))
        return documents.parse(data, path, inspect)

    (folder / "a.yaml").write_text(text("a", port=999))
    monkeypatch.setattr(on_disk, "parse", always_edited)
    loaded.scan()
    assert 999 < loaded.ports["a"] < next(ports)
