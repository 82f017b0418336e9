"""A name server for tests, on loopback, over UDP and TCP: it knows what it is told, and counts what it is asked."""

import asyncio
import time
from collections import Counter, defaultdict
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from xds_server.testing.loop import run

Fault = Literal["SERVFAIL", "NXDOMAIN", "REFUSED", "empty", "silent"]

_MOST_OVER_UDP = 1232


class _Records(NamedTuple):
    ttl: int
    texts: tuple[str, ...]


class DnsServer:
    """Answers for as long as the `with` block lasts.

        with DnsServer() as names:
            names.set("db.test", A=["127.0.0.1", "127.0.0.2"], ttl=60)
            ...  # names.address is "127.0.0.1:41234"
            assert names.queries["db.test", "A"] == 1

    A name that was never set does not exist (NXDOMAIN); one that has no records of a type has an empty answer.
    """

    def __init__(self) -> None:
        self.port = 0
        self.queries: Counter[tuple[str, str]] = Counter()
        """Questions that have arrived, by name and type."""
        self.asked_at: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        """When each of these has arrived, by the monotonic clock."""
        self.over_tcp = 0
        """Questions that have arrived over TCP."""
        self.delay = 0.0
        """Seconds before each answer."""
        self.faults: dict[str, Fault] = {}
        """What goes wrong with a name, or with `name TYPE` alone."""
        self._zone: dict[str, dict[str, _Records]] = {}
        self._down = False
        self._udp: asyncio.DatagramTransport
        self._tcp: asyncio.Server

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"127.0.0.1:{self.port}"

    def set(self, name: str, *, ttl: int = 1, **records: list[str]) -> None:
        """Have a name exactly these records, by type: A, AAAA, SRV, CNAME."""
        self._zone[name] = {kind: _Records(ttl, tuple(texts)) for kind, texts in records.items()}
        self.faults.pop(name, None)

    def asked(self, name: str) -> int:
        """Questions of any type for a name."""
        return sum(count for (asked, _), count in self.queries.items() if asked == name)

    def stop(self) -> None:
        """Answer nothing any more, until `resume`."""
        self._down = True

    def resume(self) -> None:
        """Answer again."""
        self._down = False

    def __enter__(self) -> Self:
        run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run(self._close())

    async def _start(self) -> None:
        for _ in range(20):  # until a port is free for both
            self._tcp = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = self._tcp.sockets[0].getsockname()[1]
            try:
                self._udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                    lambda: _Datagrams(self), local_addr=("127.0.0.1", self.port)
                )
                return
            except OSError:
                self._tcp.close()
        raise OSError("no port is free for both UDP and TCP")

    async def _close(self) -> None:
        self._udp.close()
        self._tcp.close()
        await self._tcp.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(EOFError, ConnectionError):
            while True:
                wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                self.over_tcp += 1
                answer = await self.answer(wire, 65535)
                if answer is not None:
                    writer.write(len(answer).to_bytes(2, "big") + answer)
                    await writer.drain()
        writer.close()

    async def answer(self, wire: bytes, most: int) -> bytes | None:
        """The answer to one message in at most so many bytes, None for silence. What does not fit is left out, and said so."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.queries[name, kind] += 1
        self.asked_at[name, kind].append(time.monotonic())
        fault = self.faults.get(f"{name} {kind}", self.faults.get(name))
        if self.delay:
            await asyncio.sleep(self.delay)
        if self._down or fault == "silent":
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA | dns.flags.RA
        if fault in ("SERVFAIL", "REFUSED"):
            response.set_rcode(dns.rcode.from_text(fault))
        elif fault == "NXDOMAIN" or name not in self._zone:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif fault != "empty":
            response.answer += self._records(name, kind)
        if response.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) and not response.answer:
            # Says for how long it may be believed that there is nothing.
            response.authority.append(
                dns.rrset.from_text("test.", 300, "IN", "SOA", "ns.test. admin.test. 1 1 1 1 300")
            )
        return response.to_wire(max_size=most, prefer_truncation=True)

    def _records(self, name: str, kind: str) -> list[Any]:
        known = self._zone.get(name, {})
        if "CNAME" in known:
            alias = known["CNAME"]
            return [_set(name, "CNAME", alias), *self._records(alias.texts[0].rstrip("."), kind)]
        return [_set(name, kind, known[kind])] if kind in known else []


def _set(name: str, kind: str, records: _Records) -> Any:
    return dns.rrset.from_text_list(f"{name}.", records.ttl, "IN", kind, records.texts)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        task = asyncio.create_task(self._answer(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, data: bytes, addr: Any) -> None:
        answer = await self._server.answer(data, _MOST_OVER_UDP)
        if answer is not None and not self._transport.is_closing():
            self._transport.sendto(answer, addr)
