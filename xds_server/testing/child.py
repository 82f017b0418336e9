"""What the child processes of tests have in common: they can be looked at, frozen and let go on."""

import signal
import subprocess


class ChildProcess:
    """Base of what runs one process inside a `with` block."""

    _process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id. Raises RuntimeError when it is not running."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def suspend(self) -> None:
        """Have it stand still (SIGSTOP): connections stay open, nothing is answered, until `resume`."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run on (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("it is not running: use it inside its `with` block")
        return self._process


def end(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """SIGTERM, and SIGKILL after `timeout` seconds; returns whether the first was enough."""
    # A suspended process does not see SIGTERM before it is resumed.
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True
