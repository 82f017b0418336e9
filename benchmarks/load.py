"""The load client as seen by the process that measures."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).resolve().parent.parent


class LoadError(Exception):
    """The load was not what it should have been, so that nothing was measured. The text says how."""


class Load:
    """The process, for as long as the `with` block lasts. See `load_client` for the commands and answers."""

    def __init__(self, address: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load_client", address],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def open(self, streams: int, names: Iterable[str], **options: Any) -> dict[str, Any]:
        """Open streams, until each is full. Raises LoadError when one is not."""
        opened = self._ask({"do": "open", "streams": streams, "names": [*names], **options})
        _sound(opened, opened["full"] == streams, f"{opened['full']} of {streams} streams are full")
        return opened

    def expect(self, answers: int = 1, **options: Any) -> None:
        """Be ready for answers about endpoints; `arrived` then waits for them."""
        self._ask({"do": "expect", "answers": answers, **options})

    def arrived(self) -> dict[str, Any]:
        """When each stream acknowledged what is expected. Raises LoadError when one did not, so that a change was lost."""
        arrived = self._answer()
        _sound(arrived, not arrived["missing"], f"{arrived['missing']} streams did not get the change")
        return arrived

    def track(self, streams: int, above: int) -> None:
        """Note which updates arrive from now on at the first of the streams, of those with this number or a greater one."""
        self._ask({"do": "track", "streams": streams, "above": above})

    def state(self) -> dict[str, Any]:
        """What arrived, and how many different states the streams are in."""
        return self._ask({"do": "state"})

    def close(self) -> None:
        """End all streams."""
        self._ask({"do": "close"})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise LoadError(f"the load client ended ({self._process.wait()}): see what it wrote")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _sound(answer: dict[str, Any], is_sound: bool, otherwise: str) -> None:
    if not is_sound or answer["problems"]:
        raise LoadError("; ".join([otherwise, *answer["problems"]]))
