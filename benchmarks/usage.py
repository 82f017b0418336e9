"""What a process uses, as the kernel counts it (Linux)."""

from pathlib import Path

from xds_server.testing import XdsServerProcess


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads that a process and its workers have, to the microsecond."""
    total = 0
    for process in _family(pid):
        for thread in Path(f"/proc/{process}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def memory(pid: int) -> int:
    """Resident bytes now, of a process and its workers."""
    return sum(_status(process, "VmRSS") for process in _family(pid))


def peak_memory(pid: int) -> int:
    """The most resident bytes that there were since `forget_peak`, or the start: of each, added up."""
    return sum(_status(process, "VmHWM") for process in _family(pid))


def forget_peak(pid: int) -> None:
    """Have the kernel begin anew with the peak."""
    for process in _family(pid):
        Path(f"/proc/{process}/clear_refs").write_text("5")


def _family(pid: int) -> list[int]:
    """A process and its children."""
    children = (path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [pid, *(int(child) for found in children for child in found)]


class Meter:
    """CPU of the server since this was made, or last read."""

    def __init__(self, server: XdsServerProcess | int) -> None:
        self.pid = server if isinstance(server, int) else server.pid
        self._before = cpu_seconds(self.pid)

    def read(self) -> float:
        """Seconds since then."""
        now = cpu_seconds(self.pid)
        took, self._before = now - self._before, now
        return took


def _status(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == field:
            return int(rest.split()[0]) * 1024
    raise ValueError(f"no {field} of process {pid}")
