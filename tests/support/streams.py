"""Long answers, event by event, as model servers give them: under way until a test ends them."""

import contextlib
import threading

from rig import Rig

from xds_server.testing import Answer, Backend


class Stream:
    """A request whose answer goes on until `end`. It is under way when this is made."""

    def __init__(self, rig: Rig, host: str, backend: Backend) -> None:
        self.host, self.backend = host, backend
        self._answers: list[Answer] = []
        self._thread = threading.Thread(target=self._read, args=(rig,), daemon=True)
        before = backend.active
        self._thread.start()
        rig.envoy.wait_until(lambda: backend.active > before, 10, f"the stream of {host}")

    def _read(self, rig: Rig) -> None:
        with contextlib.suppress(EOFError, OSError):
            self._answers.append(rig.ask(self.host, "/stream?chunks=0&every=0.05", timeout=120))

    def end(self) -> None:
        """Let it come to its end, and see that it was running and that every event came, in order."""
        assert self._thread.is_alive(), self.host
        self.backend.streaming = False
        self._thread.join(30)
        assert [answer.status for answer in self._answers] == [200], self.host
        lines = self._answers[0].body.decode().splitlines()
        assert lines == [f"{self.backend.name} {number}" for number in range(len(lines))], self.host
        assert lines, self.host
