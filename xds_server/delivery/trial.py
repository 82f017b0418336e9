"""A real Envoy loads, in its validation mode, what definitions become: what it refuses, in its words.

Files and variables that a definition names are looked for on this machine and in this environment.
"""

import asyncio
import contextlib
import os
import re
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from xds_server.delivery.in_force import Key
from xds_server.delivery.stand_ins import address_stand_ins
from xds_server.delivery.static_bootstrap import ENDPOINTS, static_bootstrap
from xds_server.delivery.static_secrets import HasFile
from xds_server.envoy_binary import EnvoyNotFoundError, find_envoy
from xds_server.upstreams.model import Gateway, Upstream
from xds_server.upstreams.translate import Addresses

WITHIN: Final = 30.0
"""Seconds that a server's Envoy may take for all that one request asks of it, with the waiting for its turn."""
WAITING: Final = 4
"""Requests that wait for their turn at the most: a server runs one Envoy at a time."""
KEPT: Final = 65_536
"""Bytes that are kept of the beginning and of the end of what Envoy says: it may print all that it was given."""
NICE: Final = 10
"""How much an Envoy that only tries gives way to what serves."""

_DUMP: Final = re.compile(r":? *goo\.gle/debug.*")
"""Where a message is printed, behind a mark of protobuf's; its fields follow on further lines."""
_VERSION: Final = re.compile(r"/(\d+\.\d+\.\d+)")
"""In `envoy version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`."""
_BEHIND_DUMP: Final = re.compile(r"^: (.+)", re.MULTILINE)

Definition = Upstream | Gateway


class TrialError(Exception):
    """No Envoy could be asked, or it did not answer in time. The text is one sentence."""


class TrialBusyError(TrialError):
    """Others are asking: it may be tried again."""


class Refusal(NamedTuple):
    """What Envoy refuses."""

    key: Key | None
    """Which definition; None where it refuses several only together."""
    words: str
    """Envoy's own."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of loading some definitions."""

    version: str
    """Of the Envoy: ``1.40.0``."""
    checked: int
    """How many definitions it was given."""
    refusals: tuple[Refusal, ...]
    """Empty when it takes all of them."""


@dataclass(slots=True)
class Trials:
    """Has Envoy load definitions for those who ask a server: one Envoy at a time, for a limited time, with nothing of the
    server's environment, and without those files of certificates that only the machines of other Envoys have."""

    within: float = WITHIN
    waiting: int = WAITING
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _asking: int = 0

    async def __call__(self, definitions: Sequence[Definition]) -> Trial:
        """Load `definitions`, in which host names have stand-ins for addresses. Raises TrialError."""
        if self._asking > self.waiting:
            raise TrialBusyError(f"{self.waiting} others wait already for Envoy to load something: try again later")
        self._asking += 1
        try:
            async with asyncio.timeout(self.within):
                async with self._turn:
                    return await self._run(definitions)
        except TimeoutError:
            raise TrialError(
                f"Envoy had not loaded {len(definitions)} definition(s) after {self.within:g} s: ask for fewer at a "
                "time, or try `xds-server validate --with-envoy`, which takes longer"
            ) from None
        finally:
            self._asking -= 1

    async def _run(self, definitions: Sequence[Definition]) -> Trial:
        addresses = await asyncio.to_thread(_stand_ins, definitions)  # a second for 10,000 upstreams with host names
        try:
            version = await envoy_version(environment={})
            found = await refusals(definitions, addresses, os.path.exists, environment={}) if definitions else []
        except EnvoyNotFoundError as error:
            raise TrialError(
                f"this server has no Envoy that could load it ({error}): give its machine one, or use "
                "`xds-server validate --with-envoy` where there is one"
            ) from None
        except OSError as error:
            raise TrialError(f"the Envoy of this server cannot be run: {error.strerror or error}") from None
        return Trial(version, len(definitions), tuple(found))


async def refusals(
    definitions: Sequence[Definition],
    addresses: Addresses,
    has_file: HasFile = lambda path: True,
    environment: Mapping[str, str] | None = None,
) -> list[Refusal]:
    """Every definition that Envoy refuses: it names only the first thing, so the culprits are found by halving.

    `has_file`: which files of certificates are to be read; default all. `environment`: of Envoy; default this process's own.
    Raises EnvoyNotFoundError, and OSError for one that cannot be run.
    """
    words = await load(await asyncio.to_thread(_encoded, definitions, addresses, has_file), environment)
    if words is None:
        return []
    if len(definitions) == 1:
        return [Refusal(key_of(definitions[0]), words)]
    half = len(definitions) // 2
    found = await refusals(definitions[:half], addresses, has_file, environment)
    found += await refusals(definitions[half:], addresses, has_file, environment)
    return found or [Refusal(None, words)]


def key_of(definition: Definition) -> Key:
    """The kind and name of a definition."""
    return ("upstream" if isinstance(definition, Upstream) else "gateway", definition.name)


async def load(bootstrap: bytes, environment: Mapping[str, str] | None = None) -> str | None:
    """Have Envoy load an encoded bootstrap in validation mode; its words when it refuses. Ended by a cancellation.

    Raises as `refusals` does.
    """
    with tempfile.TemporaryDirectory(prefix="xds-server-trial-") as directory:
        path = Path(directory, "bootstrap.pb")
        await asyncio.to_thread(path.write_bytes, bootstrap)
        code, said = await _run(
            "--mode", "validate", "-c", str(path), "-l", "error", "--log-format", "%v", env=environment
        )
    if code == 0:
        return None
    return _words(said, path) or f"it ended with code {code} and no word"


async def envoy_version(environment: Mapping[str, str] | None = None) -> str:
    """Which Envoy it is: ``1.40.0``; empty where it does not say. Raises as `refusals` does."""
    _, said = await _run("--version", env=environment)
    found = _VERSION.search(said)
    return found[1] if found else ""


def _stand_ins(definitions: Sequence[Definition]) -> Addresses:
    upstreams = [definition for definition in definitions if isinstance(definition, Upstream)]
    return {name: found for each in upstreams for name, found in address_stand_ins(each).items()}


def _encoded(definitions: Sequence[Definition], addresses: Addresses, has_file: HasFile) -> bytes:
    made: bytes = static_bootstrap(definitions, addresses, has_file).SerializeToString()
    return made


async def _run(*arguments: str, env: Mapping[str, str] | None) -> tuple[int, str]:
    """Run Envoy to its end; its exit code, and what it says."""
    process = await asyncio.create_subprocess_exec(
        find_envoy(), *arguments, stdin=DEVNULL, stdout=PIPE, stderr=asyncio.subprocess.STDOUT, env=env
    )
    try:
        with contextlib.suppress(OSError):  # it has ended already
            os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
        assert process.stdout is not None
        said = await _ends(process.stdout)
        return await process.wait(), said
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _ends(stream: asyncio.StreamReader) -> str:
    """The beginning and the end of all that comes."""
    first, last = bytearray(), bytearray()
    while chunk := await stream.read(KEPT):
        room = KEPT - len(first)
        first += chunk[:room]
        last += chunk[room:]
        del last[:-KEPT]
    return (first + last).decode(errors="replace")


def _words(said: str, path: Path) -> str:
    """What Envoy says against a bootstrap, in one line: it may print all of the bootstrap before it or behind it."""
    said = (said.partition(f"'{path}': ")[2] or said).strip()
    behind = _BEHIND_DUMP.search(said)
    line = behind[1] if behind else said.partition("\n")[0]
    return re.sub(f"(?<=[a-z0-9._-]){ENDPOINTS}", "", _DUMP.sub("", line)).strip()
