"""Changes of single records that come within a moment: in their order, in few revisions, and each answered for itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xds_server.catalog.batching import Batches, Step
from xds_server.catalog.catalog import Catalog, Delivery, Outcome
from xds_server.catalog.contents import Contents, Value
from xds_server.catalog.errors import ChangedMeanwhileError, InvalidError, UnknownRecordError
from xds_server.catalog.planning import Proposal, Put, put
from xds_server.catalog.store.engine import StoreError
from xds_server.catalog.store.records import UPSTREAM, Attribution, Key
from xds_server.catalog.store.store import Store
from xds_server.upstreams.model import Upstream

BY = Attribution("test")


async def deliver(_: Delivery) -> None:
    """To nobody."""


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    catalog = Catalog(Store(f"sqlite:///{tmp_path}/store.db"), deliver)
    await catalog.load()
    yield catalog
    catalog.close()


def key(name: str) -> Key:
    return (UPSTREAM, name)


def count(name: str) -> Step:
    """One more than there was."""

    def step(_: Contents, before: Value | None) -> Put:
        now = int(before.labels["n"]) if isinstance(before, Upstream) else 0
        return put(Upstream(name=name, labels={"n": str(now + 1)}))

    return step


def wrong(_: Contents, __: Value | None) -> Put:
    raise UnknownRecordError("target", "x")


def named(name: str, *hostnames: str) -> Step:
    return lambda *_: put(Upstream(name=name, hostnames=hostnames))


def counted(catalog: Catalog, name: str) -> str | None:
    found = catalog.contents.upstream(name)
    return found.labels["n"] if found is not None else None


async def test_several_changes_of_one_record_are_made_one_upon_the_other(catalog: Catalog) -> None:
    batches = Batches(catalog)
    made = await asyncio.gather(*(batches.commit(key("a"), BY, count("a")) for _ in range(100)))
    assert counted(catalog, "a") == "100"
    assert {each.number for each in made} == {catalog.head} == {1}


async def test_what_was_added_and_taken_away_at_once_was_never_there(catalog: Catalog) -> None:
    batches = Batches(catalog)
    await asyncio.gather(
        batches.commit(key("a"), BY, count("a")),
        batches.commit(key("b"), BY, count("b")),
        batches.commit(key("a"), BY, lambda *_: None),
    )
    assert (counted(catalog, "a"), counted(catalog, "b"), catalog.head) == (None, "1", 1)


async def test_what_is_refused_is_so_alone(catalog: Catalog) -> None:
    batches = Batches(catalog)
    steps = {"a": count("a"), "bad": wrong, "b": count("b")}
    answers = await asyncio.gather(
        *(batches.commit(key(name), BY, step) for name, step in steps.items()), return_exceptions=True
    )
    assert [type(each) for each in answers] == [Outcome, UnknownRecordError, Outcome]
    assert catalog.head == 1, "the others in one revision"
    with pytest.raises(UnknownRecordError):
        await batches.commit(key("bad"), BY, wrong)
    assert catalog.head == 1


async def test_what_cannot_be_beside_others_is_found_in_few_revisions(catalog: Catalog) -> None:
    await catalog.commit(lambda _: Proposal(BY, {key("first"): put(Upstream(name="first", hostnames=("x.example",)))}))
    batches = Batches(catalog)
    steps = {f"u{number:02}": named(f"u{number:02}") for number in range(64)}
    steps["u40"] = named("u40", "x.example")
    answers = await asyncio.gather(
        *(batches.commit(key(name), BY, step) for name, step in steps.items()), return_exceptions=True
    )
    assert [index for index, each in enumerate(answers) if isinstance(each, InvalidError)] == [40]
    assert len(catalog.contents.names(UPSTREAM)) == 64
    assert catalog.head <= 1 + 7, "by halves"


async def test_who_expects_something_of_a_record_comes_after_those_that_change_it(catalog: Catalog) -> None:
    batches = Batches(catalog)
    answers = await asyncio.gather(
        batches.commit(key("a"), BY, count("a"), {key("a"): 0}),
        batches.commit(key("a"), BY, count("a"), {key("a"): 0}),
        batches.commit(key("b"), BY, count("b"), {key("b"): 0}),
        batches.commit(key("a"), BY, count("a"), {key("a"): 1}),
        return_exceptions=True,
    )
    kinds = [type(each) for each in answers]
    assert kinds == [Outcome, ChangedMeanwhileError, Outcome, Outcome]
    assert (counted(catalog, "a"), counted(catalog, "b")) == ("2", "1")


async def test_authors_do_not_share_a_revision(catalog: Catalog) -> None:
    batches = Batches(catalog)
    other = Attribution("other")
    await asyncio.gather(*(batches.commit(key("a"), by, count("a")) for by in (BY, BY, other, BY)))
    assert counted(catalog, "a") == "4"
    authors = [revision.by.author for revision in await catalog.call(catalog.store.revisions)]
    assert authors == ["test", "other", "test"]


async def test_a_store_that_is_lost_is_told_to_all(catalog: Catalog) -> None:
    batches = Batches(catalog)
    catalog.store.engine.dispose()
    with catalog.store.engine.connect() as connection:
        connection.exec_driver_sql("ALTER TABLE revisions RENAME TO lost")
        connection.commit()
    answers = await asyncio.gather(
        *(batches.commit(key(name), BY, count(name)) for name in "abc"), return_exceptions=True
    )
    assert [type(each) for each in answers] == [StoreError] * 3
    assert catalog.contents.count(UPSTREAM) == 0
