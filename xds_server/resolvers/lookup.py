"""One look-up: the hosts file and the name servers, by c-ares (aiodns), which needs no thread for each name."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Final, NamedTuple

import aiodns
from pycares import SRVRecordData

from xds_server.resolvers.questions import Answer, Family, Question, Source, SrvAddress

RENEWAL: Final = 300.0
"""Seconds after which c-ares starts anew, because it keeps answers for as long as they say, up to an hour."""
RENEWAL_AFTER_DENIAL: Final = 1.0
"""The same once it was told that a name has no records, because it keeps that for an hour, whatever the answer says."""
TIMEOUT: Final = 1.0
TRIES: Final = 2
AT_ONCE: Final = 20
"""Look-ups at a time for the targets of one name's SRV records."""

_NONE: Final = (aiodns.error.ARES_ENODATA, aiodns.error.ARES_ENOTFOUND)
"""Errors that are answers: there are no such records."""


class _Addresses(NamedTuple):
    found: tuple[str, ...] = ()
    ttl: float = 0
    problem: str = ""
    is_denied: bool = False
    """Whether there are none for sure, as against a failure to learn any."""


class SystemLookup:
    """Asks as this machine is configured to: hosts file, search domains and name servers, or `servers` instead of these."""

    def __init__(self, servers: Sequence[str] = ()) -> None:
        """`servers`: name servers, each as ADDRESS, ADDRESS:PORT or [IPv6]:PORT."""
        self._servers = servers
        self._channel: aiodns.DNSResolver | None = None
        self._made_at = self._renew_at = 0.0

    async def __call__(self, question: Question) -> Answer:
        """Answer a question. Raises OSError when nothing is found, for whatever reason."""
        try:
            return await (self._services(question) if question.srv else self._host(question.name, question.family))
        except _DeniedError:
            self._renew_at = min(self._renew_at, self._made_at + RENEWAL_AFTER_DENIAL)
            raise

    def _resolver(self) -> aiodns.DNSResolver:
        now = asyncio.get_running_loop().time()
        if self._channel is None or now >= self._renew_at:
            # The old one closes itself once its last look-up is through.
            self._channel = aiodns.DNSResolver(nameservers=self._servers or None, timeout=TIMEOUT, tries=TRIES)
            self._made_at, self._renew_at = now, now + RENEWAL
        return self._channel

    async def _services(self, question: Question) -> Answer:
        """Where the SRV records of a name lead to. The names that they give are looked up as any others."""
        resolver = self._resolver()
        try:
            answer = await resolver.query_dns(question.name, "SRV")
        except aiodns.error.DNSError as error:
            raise (_DeniedError if error.args[0] in _NONE else OSError)(_text(error)) from None
        records = [(record.ttl, record.data) for record in answer.answer if isinstance(record.data, SRVRecordData)]
        # A record for the root says that there is no such service.
        records = [(ttl, data) for ttl, data in records if data.target.strip(".") and data.port]
        slots = asyncio.Semaphore(AT_ONCE)

        async def addresses(host: str) -> Answer | OSError:
            try:
                async with slots:
                    return await self._host(host, question.family)
            except OSError as error:
                return error

        hosts = sorted({_name(data) for _, data in records})
        answers = dict(zip(hosts, await asyncio.gather(*map(addresses, hosts)), strict=True))
        good = {host: answer for host, answer in answers.items() if isinstance(answer, Answer)}
        bad = {host: error for host, error in answers.items() if isinstance(error, OSError)}
        found = {
            SrvAddress(data.priority, data.weight, _name(data), address, data.port)
            for _, data in records
            if _name(data) in good
            for address in good[_name(data)].found
            if isinstance(address, str)
        }
        problem = "; ".join(f"{host}: {error}" for host, error in bad.items())
        if not found:
            raise OSError(problem or "the answer is empty")
        ttls = [ttl for ttl, _ in records] + [answer.ttl for answer in good.values() if answer.ttl]
        failing = [host for host, error in bad.items() if not isinstance(error, _DeniedError)]
        failed = {Source(host, v6) for host in failing for v6 in (False, True)}
        failed |= {part for answer in good.values() for part in answer.failed}
        return Answer(tuple(sorted(found)), min(ttls), frozenset(failed), problem if failed else "")

    async def _host(self, name: str, family: Family) -> Answer:
        """The addresses of a host."""
        if family == "all":
            v4, v6 = await asyncio.gather(*(self._ask(name, part) for part in (socket.AF_INET, socket.AF_INET6)))
        else:
            # One at a time: half an answer must not look like a name that has no IPv4 addresses any more.
            v4 = await self._ask(name, socket.AF_INET) if family != "v6" else _Addresses(is_denied=True)
            needs_v6 = family == "v6" or (family == "v4-preferred" and v4.is_denied)
            v6 = await self._ask(name, socket.AF_INET6) if needs_v6 else _Addresses(is_denied=True)
        problem = v4.problem or v6.problem
        if not v4.found and not v6.found:
            if v4.is_denied and v6.is_denied:
                raise _DeniedError(problem)
            raise OSError(next(part.problem for part in (v4, v6) if not part.is_denied))
        failed = {Source(name, v6 is part) for part in (v4, v6) if part.problem and not part.is_denied}
        ttl = min(part.ttl for part in (v4, v6) if part.found)
        return Answer((*v4.found, *v6.found), ttl, frozenset(failed), problem if failed else "")

    async def _ask(self, name: str, family: socket.AddressFamily) -> _Addresses:
        resolver = self._resolver()
        try:
            answer = await resolver.getaddrinfo(name, family=family)
        except aiodns.error.DNSError as error:
            return _Addresses(problem=_text(error), is_denied=error.args[0] in _NONE)
        found = sorted({node.addr[0].decode() for node in answer.nodes})
        ttls = [node.ttl for node in answer.nodes] + [cname.ttl for cname in answer.cnames]
        return _Addresses(tuple(found), min(ttls))


class _DeniedError(OSError):
    """A name that has no addresses, by what its own name servers say."""


def _name(record: SRVRecordData) -> str:
    return record.target.rstrip(".").lower()


def _text(error: aiodns.error.DNSError) -> str:
    return str(error.args[-1])
