"""Names into addresses: the last good answer is kept, and no name waits for another."""

import asyncio

from xds_server.resolvers.dns import Resolver, SystemLookup


class Told:
    """Remembers which names were said to have changed."""

    def __init__(self) -> None:
        self.names: list[str] = []

    async def __call__(self, names: frozenset[str]) -> None:
        self.names += names


async def test_the_hosts_file_is_asked() -> None:
    assert await SystemLookup()("localhost") == ("127.0.0.1",)


async def test_a_name_is_looked_up_once_however_often_it_is_added() -> None:
    asked: list[str] = []

    async def lookup(name: str) -> tuple[str, ...]:
        asked.append(name)
        return ("10.0.0.1",)

    resolver = Resolver(Told(), lookup)
    await resolver.add(["a", "b"])
    await resolver.add(["a"])
    assert sorted(asked) == ["a", "b"]
    resolver.drop(["a"])
    assert dict(resolver.addresses) == {"b": ("10.0.0.1",)}


async def test_a_name_that_hangs_holds_no_other_back() -> None:
    number = 0

    async def lookup(name: str) -> tuple[str, ...]:
        nonlocal number
        if name == "hangs" and number:
            await asyncio.Event().wait()
        number += 1
        return (f"10.0.0.{number}",)

    told = Told()
    resolver = Resolver(told, lookup, interval=0.01)
    await resolver.add(["hangs"])
    await resolver.add(["fine"])
    running = asyncio.create_task(resolver.run())
    async with asyncio.timeout(2):  # less than a look-up that hangs takes
        while told.names.count("fine") < 3:
            await asyncio.sleep(0.005)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert resolver.addresses["hangs"] == ("10.0.0.1",)
    assert told.names.count("hangs") == 0


async def test_an_answer_for_a_name_that_was_dropped_meanwhile_is_forgotten() -> None:
    go = asyncio.Event()

    async def lookup(name: str) -> tuple[str, ...]:
        await go.wait()
        return ("10.0.0.1",)

    resolver = Resolver(Told(), lookup)
    adding = asyncio.create_task(resolver.add(["a"]))
    await asyncio.sleep(0)
    resolver.drop(["a"])
    go.set()
    await adding
    assert dict(resolver.addresses) == {}


async def test_nothing_that_goes_wrong_with_a_name_ends_the_refreshing_or_is_forgotten() -> None:
    number = 0

    async def lookup(name: str) -> tuple[str, ...]:
        nonlocal number
        number += 1
        if number == 2:
            raise UnicodeError("no such label")
        return ("10.0.0.1",) if number < 3 else ("10.0.0.2",)

    told: list[str] = []

    async def tell(names: frozenset[str]) -> None:
        told.extend(names)
        if len(told) == 1:
            raise RuntimeError("not now")

    resolver = Resolver(tell, lookup, interval=0.01)
    await resolver.add(["a"])
    running = asyncio.create_task(resolver.run())
    async with asyncio.timeout(5):
        while len(told) < 2:
            await asyncio.sleep(0.005)
    assert not running.done()
    running.cancel()
    assert resolver.addresses["a"] == ("10.0.0.2",)
