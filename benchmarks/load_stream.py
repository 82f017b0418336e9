"""One stream of the load client: a socket, what it is sent, and what it notes of that."""

import select
import socket
import time
from collections.abc import Mapping
from typing import Final

from envoy.config.endpoint.v3 import endpoint_pb2

from benchmarks.connection import Connection
from benchmarks.discovery import CLUSTER, ENDPOINTS, PATHS, Answer, Asker, read

CHUNK: Final = 1 << 20


class LoadStream:
    """Asks for all clusters and, by name, for their endpoints, as an Envoy does, and acknowledges everything."""

    def __init__(self, address: str, asker: Asker, node: str, cluster: str, held: Mapping[str, str], *, closely: bool):
        """`held`: versions of the clusters that it returns with. `closely`: read large answers whole, too."""
        host, _, port = address.rpartition(":")
        self.closely = closely
        self.asked_at = time.monotonic()
        self.full_at: float | None = None
        """When it had its first full answer."""
        self.acknowledged_at = 0.0
        """When it acknowledged endpoints last."""
        self.answers = {CLUSTER: 0, ENDPOINTS: 0}
        self.names: list[str] = []
        """Of the endpoints that came since the last `reset`."""
        self.versions: dict[str, str] = {}
        """Of the endpoints that it was sent since it was full (delta)."""
        self.cluster_versions: dict[str, str] = {}
        self.arrived: list[tuple[int, float]] | None = None
        """Numbers of updates, each a target's weight, with the time of their arrival; None: not noted."""
        self.above = 0
        """The least of these numbers that is noted."""
        self.bytes_in = self.bytes_out = self.messages = 0
        self.problem = ""
        self.interest = select.EPOLLIN
        """What its process is told of by the kernel."""
        self._asker = asker
        self._latest: dict[str, int] = {}
        self._connection = Connection(PATHS[asker.variant], address)
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._is_subscribed = False
        self._connection.send(asker.hello(node, cluster, held))
        if held:  # there may be nothing new to tell of these
            self._subscribe()
        self.write()

    @property
    def is_full(self) -> bool:
        """Whether it has everything, or will have nothing more."""
        return self.full_at is not None or bool(self.problem)

    def reset(self) -> None:
        """Count endpoints from here on."""
        self.answers[ENDPOINTS] = 0
        self.names.clear()

    def readable(self) -> None:
        """Take in what came, and answer. Sets `problem` when the stream ended."""
        try:
            while data := self.socket.recv(CHUNK):
                self.bytes_in += len(data)
                for body in self._connection.receive(data):
                    self._take(read(self._asker.variant, body, closely=self.closely))
                if len(data) < CHUNK:
                    break
            else:
                self.problem = "the server closed the connection"
        except BlockingIOError:
            pass
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"
        self.write()

    def write(self) -> bool:
        """Send what there is to send; returns whether all of it went."""
        out = self._connection.out
        try:
            while out:
                sent = self.socket.send(out)
                self.bytes_out += sent
                del out[:sent]
        except BlockingIOError:
            pass
        except OSError as error:
            self.problem = self.problem or str(error)
            out.clear()
        return not out

    def close(self) -> None:
        """Leave, as a process does that is killed."""
        self.socket.close()

    def _take(self, answer: Answer) -> None:
        self.messages += 1
        self.answers[answer.type_url] += 1
        self._connection.send(self._asker.acknowledgement(answer))
        if answer.type_url == CLUSTER:
            if answer.resources is not None:
                self.cluster_versions |= {name: version for name, (version, _) in answer.resources.items()}
            self._subscribe()
            return
        self.acknowledged_at = time.monotonic()
        if self.full_at is None:
            self._first(answer)
            return
        for name, (version, value) in (answer.resources or {}).items():
            self.names.append(name)
            self.versions[name] = version
            if self.arrived is not None:
                self._note(self.arrived, value)

    def _subscribe(self) -> None:
        if not self._is_subscribed:
            self._is_subscribed = True
            self._connection.send(self._asker.subscription)

    def _first(self, answer: Answer) -> None:
        count = len(self._asker.names)
        if answer.resources is not None and len(answer.resources) != count:
            self.problem = f"{len(answer.resources)} of {count} endpoints in the first answer"
        self.full_at = self.acknowledged_at

    def _note(self, arrived: list[tuple[int, float]], value: bytes) -> None:
        assignment = endpoint_pb2.ClusterLoadAssignment.FromString(value)
        for locality in assignment.endpoints:
            for endpoint in locality.lb_endpoints:
                number = endpoint.load_balancing_weight.value
                at = endpoint.endpoint.address.socket_address
                key = f"{at.address}:{at.port_value}"
                if number >= self.above and self._latest.get(key) != number:
                    self._latest[key] = number
                    arrived.append((number, self.acknowledged_at))
