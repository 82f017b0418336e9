"""Files beside the API: what belongs to whom, what is left out and when it is taken in, and what the guard holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from catalogues import OF_FILES, catalogue, gateway, gone, upstream, wants
from structlog.testing import capture_logs

from xds_server.catalog import file_records
from xds_server.catalog.catalog import Catalog
from xds_server.catalog.changes import Change
from xds_server.catalog.errors import StillNeededError
from xds_server.catalog.file_records import FileRecords, as_given
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.records import API
from xds_server.upstreams.model import Gateway, Placed, Upstream

ROOT, FILE = "/etc/xds", "/etc/xds/a.yaml"
MANY = [f"10.0.0.{n + 1}" for n in range(20)]


class Files:
    """What the files below /etc/xds say, as a `FileSource` would tell it."""

    def __init__(self, catalog: Catalog, *roots: str) -> None:
        self.catalog = catalog
        self.records = FileRecords(catalog, roots or (ROOT,))
        self.records.held()
        self.logs: list[Any] = []

    async def say(
        self, *values: Upstream | Gateway, remove: tuple[str, ...] = (), sound: bool = True, path: str = FILE
    ) -> None:
        change = Change(
            {
                value.name: Placed(path, line, value)
                for line, value in enumerate(values, 1)
                if isinstance(value, Upstream)
            },
            frozenset(remove),
            {
                value.name: Placed(path, line, value)
                for line, value in enumerate(values, 1)
                if isinstance(value, Gateway)
            },
        )
        with capture_logs() as logs:
            await self.records.take(change, is_sound=sound)
        self.logs += logs

    async def retry(self) -> None:
        with capture_logs() as logs:
            await self.records.retry()
        self.logs += logs

    @property
    def left_out(self) -> list[tuple[str, str]]:
        """What was told to be left out, and why."""
        return [(log["name"], log["problem"]) for log in self.logs if log["event"] == "definition.left_out"]


@pytest_asyncio.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    async with catalogue(f"sqlite:///{tmp_path}/store.db", awaits_files=True) as (catalog, _):
        yield catalog


def owners(catalog: Catalog) -> dict[str, str]:
    return {name: record.owner for (_, name), record in sorted(catalog.contents.records.items())}


def targets(catalog: Catalog, name: str) -> int:
    found = catalog.contents.upstream(name)
    assert found is not None
    return len(found.targets)


async def test_files_come_as_one_revision_with_their_places(catalog: Catalog) -> None:
    files = Files(catalog)
    await files.say(upstream("a"), upstream("b"), gateway("g", 80))
    one = catalog.store.revision(1)
    assert one is not None
    assert (one.revision.by, len(one.changes), catalog.head) == (OF_FILES, 3, 1)
    assert catalog.contents.records["upstream", "b"].held.entry[:2] == (FILE, 2)
    await files.say(upstream("a", "10.0.0.1"), remove=("b",))
    assert owners(catalog) == {"a": FILE, "g": FILE}


async def test_files_that_say_nothing_are_heard_all_the_same(catalog: Catalog) -> None:
    """A replica that does not read them must know that nothing is what they say."""
    files = Files(catalog)
    assert not catalog.has_begun
    await files.say()
    assert catalog.has_begun
    assert catalog.head == 1
    await files.say()
    assert catalog.head == 1


async def test_what_the_api_defined_is_left_out_told_once_and_taken_in_when_it_gives_way(catalog: Catalog) -> None:
    files = Files(catalog)
    await catalog.commit(wants(upstream("a", "10.0.0.1")))
    await files.say(upstream("a", "10.0.0.2"), upstream("b"))
    assert owners(catalog) == {"a": API, "b": FILE}
    expected = ("a", "upstream 'a' is defined through the API: delete it there first, or take it out of this file")
    assert files.left_out == [expected]
    await files.say(upstream("b", "10.0.0.1"))
    await files.retry()
    assert files.left_out == [expected]
    await catalog.commit(wants(remove=gone("a")))
    await files.retry()
    assert owners(catalog) == {"a": FILE, "b": FILE}
    await files.say(upstream("b"), remove=("a",))
    assert owners(catalog) == {"b": FILE}


async def test_a_file_that_gives_up_what_it_could_not_have_leaves_the_apis_alone(catalog: Catalog) -> None:
    files = Files(catalog)
    await catalog.commit(wants(upstream("a")))
    await files.say(upstream("a", "10.0.0.1"))
    await files.say(remove=("a",))
    await files.retry()
    assert owners(catalog) == {"a": API}
    assert len(files.left_out) == 1


async def test_a_host_name_or_a_port_of_the_api_is_left_to_it(catalog: Catalog) -> None:
    files = Files(catalog)
    await catalog.commit(wants(upstream("a", hostnames=["x.example"]), gateway("g", 80)))
    await files.say(upstream("b", hostnames=["x.example"]), gateway("h", 80), upstream("c"))
    assert owners(catalog) == {"a": API, "c": FILE, "g": API}
    assert {name for name, _ in files.left_out} == {"b", "h"}
    await catalog.commit(wants(upstream("a"), gateway("g", 81)))
    await files.retry()
    assert owners(catalog) == {"a": API, "b": FILE, "c": FILE, "g": API, "h": FILE}


async def test_what_a_gateway_of_the_api_needs_stays(catalog: Catalog) -> None:
    files = Files(catalog)
    await files.say(upstream("a"), upstream("b"))
    await catalog.commit(wants(gateway("g", 80, upstream="a")))
    await files.say(upstream("c"), remove=("a", "b"))
    assert owners(catalog) == {"a": FILE, "c": FILE, "g": API}
    assert files.left_out == [("a", "gateway 'g' of the API forwards to it")]
    await catalog.commit(wants(remove=gone("g", kind="gateway")))
    await files.retry()
    assert owners(catalog) == {"c": FILE}


async def test_a_gateway_of_a_file_may_forward_to_an_upstream_of_the_api(catalog: Catalog) -> None:
    files = Files(catalog)
    await files.say(upstream("a"))
    await files.say(gateway("g", 80, upstream="b"), gateway("h", 81, upstream="a"))
    assert owners(catalog) == {"a": FILE, "h": FILE}
    assert files.left_out == [("g", "there is no upstream 'b'")]
    await catalog.commit(wants(upstream("b")))
    await files.retry()
    assert owners(catalog) == {"a": FILE, "b": API, "g": FILE, "h": FILE}
    with pytest.raises(StillNeededError) as refused:
        await catalog.commit(wants(remove=gone("b")))
    needed = f"upstream 'b' is still needed: gateway 'g' of {FILE} forwards to it; have it forward elsewhere first"
    assert str(refused.value).startswith(needed)
    await files.say(gateway("g", 80))
    await catalog.commit(wants(remove=gone("b")))
    assert owners(catalog) == {"a": FILE, "g": FILE, "h": FILE}


async def test_what_a_gateway_of_a_file_needs_stays(catalog: Catalog) -> None:
    files = Files(catalog)
    await files.say(upstream("a"), upstream("b"), gateway("g", 80, upstream="a"))
    await files.say(upstream("c"), remove=("a", "b"))
    assert owners(catalog) == {"a": FILE, "c": FILE, "g": FILE}
    assert files.left_out == [("a", f"gateway 'g' of {FILE} forwards to it")]
    await files.say(gateway("g", 80, upstream="c"))
    assert owners(catalog) == {"c": FILE, "g": FILE}


async def test_a_new_store_begins_with_all_that_files_say_or_not_at_all(catalog: Catalog) -> None:
    files = Files(catalog)
    await files.say(upstream("a"), gateway("g", 80, upstream="b"))
    assert (owners(catalog), catalog.has_begun) == ({}, False), "without the gateway it would be a partial answer"
    assert files.left_out == [("g", "there is no upstream 'b'")]
    assert [log["problem"] for log in files.logs if log["event"] == "definitions.not_served"]
    await files.retry()
    assert len(files.left_out) == 1
    await catalog.commit(wants(upstream("b")))
    await files.retry()
    assert (owners(catalog), catalog.has_begun) == ({"a": FILE, "b": API, "g": FILE}, True)


async def test_what_depends_on_what_was_left_out_is_left_out_too(catalog: Catalog) -> None:
    files = Files(catalog)
    await catalog.commit(wants(upstream("a", hostnames=["b"])))
    await files.say(upstream("b"), gateway("g", 80, upstream="b"), upstream("c"))
    assert owners(catalog) == {"a": API, "c": FILE}
    assert [name for name, _ in files.left_out] == ["b", "g"]


async def test_ten_thousand_that_cannot_be_are_left_out_in_one_go(catalog: Catalog) -> None:
    many = [upstream(f"u{n}") for n in range(2000)]
    await catalog.commit(wants(*many))
    files = Files(catalog)
    start = time.monotonic()
    await files.say(*(upstream(f"u{n}", "10.0.0.1") for n in range(2000)), upstream("mine"))
    assert time.monotonic() - start < 20, "not one after the other"
    assert owners(catalog)["mine"] == FILE
    assert len(files.left_out) == 2000


# The guard


async def test_what_is_held_is_superseded_by_the_next_change_of_the_files(catalog: Catalog) -> None:
    files = Files(catalog)
    await files.say(upstream("a", *MANY), upstream("b"))
    await files.say(upstream("a", "10.0.0.1"))
    assert targets(catalog, "a") == 20
    assert set(catalog.held) == {2}
    # Another file goes on, and what was held before is part of what is held now.
    await files.say(upstream("b", "10.0.0.1"))
    assert (targets(catalog, "a"), targets(catalog, "b"), set(catalog.held)) == (20, 0, {3})
    await files.say(upstream("a", *MANY))
    assert (targets(catalog, "a"), targets(catalog, "b"), catalog.held) == (20, 1, {})


async def test_what_is_held_and_undone_cannot_be_confirmed_any_more(catalog: Catalog) -> None:
    files = Files(catalog)
    await files.say(upstream("a", *MANY))
    await files.say(remove=("a",))
    assert set(catalog.held) == {2}
    await files.say(upstream("a", *MANY))
    assert catalog.held == {}
    assert targets(catalog, "a") == 20


async def test_what_was_confirmed_is_what_files_say(catalog: Catalog) -> None:
    files = Files(catalog)
    await files.say(upstream("a", *MANY))
    await files.say(upstream("a", "10.0.0.1"))
    await catalog.commit(wants(upstream("a", "10.0.0.1"), by=OF_FILES, origin=FILE, refers_to=2, confirmed=True))
    assert targets(catalog, "a") == 1
    await files.say(upstream("b"))
    assert (catalog.held, owners(catalog)) == ({}, {"a": FILE, "b": FILE})


async def test_a_retry_while_something_is_held_forgets_nothing_of_it(catalog: Catalog) -> None:
    files = Files(catalog)
    await catalog.commit(wants(upstream("of-api")))
    await files.say(upstream("a", *MANY), upstream("of-api", "10.0.0.1"))
    await files.say(upstream("a", "10.0.0.1"))
    held = set(catalog.held)
    await files.retry()
    assert set(catalog.held) == held
    await catalog.commit(wants(remove=gone("of-api")))
    await files.retry()
    assert (set(catalog.held), targets(catalog, "a")) == ({catalog.head}, 20), "one change, held as a whole"
    await files.say(upstream("a", *MANY))
    assert owners(catalog) == {"a": FILE, "of-api": FILE}


# From one run to the next


async def test_what_these_roots_had_is_known_to_the_next_run(catalog: Catalog) -> None:
    await Files(catalog).say(upstream("a"), gateway("g", 80))
    held = FileRecords(catalog, (ROOT,)).held()
    assert held is not None
    found = {**held.upstreams, **held.gateways}
    assert {name: Placed(each.source, each.line, each.value) for name, each in found.items()} == {
        "a": Placed(FILE, 1, upstream("a")),
        "g": Placed(FILE, 2, gateway("g", 80)),
    }
    assert FileRecords(catalog, ("/etc/elsewhere",)).held() is None, "so the first look at these must be sound"


async def test_other_roots_take_the_place_of_old_ones_once_all_is_sound(catalog: Catalog) -> None:
    await Files(catalog).say(upstream("a"), upstream("b"))
    await catalog.commit(wants(upstream("of-api")))
    files = Files(catalog, "/etc/new")
    await files.say(upstream("a"), sound=False, path="/etc/new/a.yaml")
    assert owners(catalog) == {"a": "/etc/new/a.yaml", "b": FILE, "of-api": API}
    await files.say()
    assert owners(catalog) == {"a": "/etc/new/a.yaml", "of-api": API}


async def test_a_whole_root_that_goes_is_held_as_well(catalog: Catalog) -> None:
    await Files(catalog).say(upstream("a", *MANY))
    await Files(catalog, "/etc/new").say()
    assert (owners(catalog), set(catalog.held)) == ({"a": FILE}, {2})


@pytest.mark.parametrize(
    ("root", "file"),
    [
        (".", "a.yaml"),
        ("defs", "defs/sub/a.yaml"),
        ("defs/a.yaml", "defs/a.yaml"),
        ("/etc/xds", "/etc/xds/a.yaml"),
        ("../up", "../up/a.yaml"),
    ],
)
def test_paths_are_found_again_as_they_were_given(root: str, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = str(Path.cwd().joinpath(file)) if not file.startswith("..") else str(Path.cwd().parent / file[3:])
    assert as_given((root,), whole) == file
    assert as_given(("other", "/else"), whole) is None
    assert as_given((root,), API) is None


async def test_a_path_that_is_no_text_is_no_problem(catalog: Catalog) -> None:
    await Files(catalog).say(upstream("a"), path="/etc/xds/\udcff.yaml")
    assert owners(catalog) == {"a": "/etc/xds/\\xff.yaml"}


async def test_a_store_that_is_lost_is_waited_for(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_records, "RETRY", 0.01)
    files = Files(catalog)
    await files.say(upstream("a"))

    def failing(*_: Any, **__: Any) -> None:
        raise StoreError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(catalog.store, "commit", failing)
        taking = asyncio.create_task(files.say(upstream("b")))
        await asyncio.sleep(0.1)
        assert not taking.done()
    await catalog.look()
    await taking
    assert owners(catalog) == {"a": FILE, "b": FILE}
