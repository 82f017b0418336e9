"""What containers of tests have in common: started by testcontainers, reached through ports of loopback, watched, ended."""

import ipaddress
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from docker.models.containers import Container
    from docker.models.networks import Network as EngineNetwork
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.network import Network


@dataclass(frozen=True)
class Recipe:
    """What a container is made of."""

    image: str
    command: Sequence[str]
    ports: Sequence[int]
    """Of the container; published on 127.0.0.1 under free ports."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Contents by path inside, readable by everyone there."""
    environment: Mapping[str, str] = field(default_factory=dict)
    network: "Network | None" = None
    aliases: Sequence[str] = ()
    """Names by which others on the network reach it."""
    remedy: str = ""
    """What to do where the image is missing, or is another one."""


class RunningContainer(ABC):
    """Base of what runs one container inside a `with` block."""

    _outer: "DockerContainer | None" = None
    _inner: "Container | None" = None
    _kept_log = ""

    @abstractmethod
    def _recipe(self) -> Recipe: ...

    @abstractmethod
    def _wait_until_up(self) -> None:
        """Wait until it can be used. Raises when it cannot."""

    def start(self) -> None:
        """Start the container and wait until it can be used.

        Raises RuntimeError without testcontainers, without an engine, without the image, where the engine does not start it,
        and with the log of what ended instead; and TimeoutError. After any of these nothing is left running.
        """
        if self._outer is not None:
            raise RuntimeError("this container is running already")
        recipe = self._recipe()
        self._outer = _create(recipe)
        try:
            _start(self._outer, recipe)
            self._inner = self._outer.get_wrapped_container()
            self._wait_until_up()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Remove the container; its log can still be read. Harmless twice, and where somebody else removed it."""
        if self._outer is None:
            return
        from docker.errors import NotFound

        try:
            self._kept_log = self.log
        finally:
            container, self._outer, self._inner = self._outer, None, None
            with suppress(NotFound):
                container.stop()

    def kill(self) -> None:
        """End what runs in it with SIGKILL, as a crash would. The container stays, with its files, for `restart`."""
        self._container().kill()
        self._container().wait()

    def restart(self) -> None:
        """End what runs in it, if it does, and start it again: same files and names, other published ports."""
        self._container().restart(timeout=10)
        self._wait_until_up()

    def disconnect(self) -> None:
        """Take it off its network, as a broken cable would: nobody there reaches it, and its ports are not published."""
        self._on_network().disconnect(self._container())

    def reconnect(self) -> None:
        """Put it back on its network, by the same names. Its address there, and its published ports, may be others."""
        self._on_network().connect(self._container(), aliases=[*self._recipe().aliases])

    def port(self, port: int) -> int:
        """The port of 127.0.0.1 under which a port of the container is published.

        Raises RuntimeError when the container is not running, with the end of its log where it ended by itself; KeyError for a
        port that is not published.
        """
        container, state = self._container(), self._state()
        published = None if state == "removed" else container.ports.get(f"{port}/tcp")
        if not published and state == "running":
            raise KeyError(f"port {port} of the container is not published")
        if not published:
            who = type(self).__name__
            raise RuntimeError(
                f"the container of {who} does not run: it is {state}. Its log ends with:\n{log_end(self.log)}"
            )
        return int(published[0]["HostPort"])

    def url(self, port: int) -> str:
        """`http://127.0.0.1:PORT` for a published port of the container."""
        return f"http://127.0.0.1:{self.port(port)}"

    def run(self, *command: str) -> str:
        """What a command inside the container prints. Raises RuntimeError with that when its exit code is not 0."""
        code, output = self._container().exec_run(list(command))
        text: str = output.decode(errors="replace")
        if code != 0:
            raise RuntimeError(f"{' '.join(command)} ended with exit code {code}: {text}")
        return text

    @property
    def container_id(self) -> str:
        """The engine's id of it, for what is not here. Raises RuntimeError when the container is not running."""
        return str(self._container().id)

    @property
    def is_running(self) -> bool:
        """Whether the container was started and has not ended."""
        return self._inner is not None and self._state() == "running"

    @property
    def log(self) -> str:
        """All that was logged, also after the container was removed; by somebody else: what was read of it before."""
        if self._inner is None:
            return self._kept_log
        from docker.errors import NotFound

        with suppress(NotFound):
            text: bytes = self._inner.logs()
            self._kept_log = text.decode(errors="replace")
        return self._kept_log

    def _state(self) -> str:
        """As the engine calls it, with how it ended; "removed" when it does not know of it."""
        from docker.errors import NotFound

        container = self._container()
        try:
            container.reload()
        except NotFound:
            return "removed"
        state = container.attrs["State"]
        return f"exited with code {state['ExitCode']}" if state["Status"] == "exited" else str(state["Status"])

    def _on_network(self) -> "EngineNetwork":
        network = self._recipe().network
        if network is None:
            raise RuntimeError("this container is on no network of its own: give it one, with network=")
        found: EngineNetwork = self._container().client.networks.get(network.id)
        return found

    def _container(self) -> "Container":
        if self._inner is None:
            raise RuntimeError("this container is not running: use it inside its `with` block")
        return self._inner

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if error is not None:
            error.add_note(f"The log of {type(self).__name__} ends with:\n{log_end(self.log)}")


LOG_LINES = 30
"""How much of a log a failure shows."""


def log_end(log: str) -> str:
    """The last lines of a log."""
    return "\n".join(log.splitlines()[-LOG_LINES:])


@contextmanager
def explained() -> Iterator[None]:
    """Around what first asks for testcontainers and an engine: RuntimeError says which of them is missing."""
    try:
        import testcontainers  # noqa: F401
        from docker.errors import DockerException
    except ImportError as error:
        raise RuntimeError("containers need testcontainers: pip install 'xds-server[testing]'") from error
    try:
        yield
    except DockerException as error:
        raise RuntimeError(f"no Docker engine answers: start one, or set DOCKER_HOST ({error})") from error


def _create(recipe: Recipe) -> "DockerContainer":
    with explained():
        from testcontainers.core.container import DockerContainer

        container = DockerContainer(recipe.image)
    container.with_command(list(recipe.command)).with_kwargs(extra_hosts={"host.docker.internal": "host-gateway"})
    container.with_envs(**recipe.environment)
    for path, content in recipe.files.items():
        container.with_copy_into_container(content, path)
    # Not `with_exposed_ports`, which publishes on every address of the machine.
    container.ports = {f"{port}/tcp": ("127.0.0.1", None) for port in recipe.ports}  # type: ignore[misc]
    if recipe.network is not None:
        container.with_network(recipe.network).with_network_aliases(*recipe.aliases)
    return container


def _start(container: "DockerContainer", recipe: Recipe) -> None:
    """Raises RuntimeError that says in a sentence why it cannot be started, and what to do."""
    from docker.errors import APIError

    try:
        container.start()
    except APIError as error:
        why = error.explanation or error
        said = (
            f"the engine does not start {recipe.image} ({why})"
            if _has(container)
            else f"no image {recipe.image} ({why})"
        )
        remedy = f": {recipe.remedy}" if recipe.remedy else ""
        # Without what the Docker client did on its way: it says nothing more.
        raise RuntimeError(f"{said}{remedy}") from None


def _has(container: "DockerContainer") -> bool:
    """Whether the engine has the image."""
    from docker.errors import ImageNotFound

    try:
        container.get_docker_client().client.images.get(container.image)
    except ImageNotFound:
        return False
    return True


def bridge_gateway() -> str:
    """The address of this machine on Docker's default network, where containers reach what listens on it.

    Raises what the Docker client raises when no engine answers.
    """
    import docker

    client = docker.from_env()
    try:
        network = client.networks.get("bridge").attrs["IPAM"]["Config"][0]
        # An engine names the gateway of this network only from its second start on; it is the first address of the subnet.
        return str(network.get("Gateway") or next(ipaddress.ip_network(network["Subnet"]).hosts()))
    finally:
        client.close()
