"""Starts what a compose file says, through the Docker API: as `docker compose up` does, where there is none.

It knows the fields that our files use, and refuses any other, so that nothing of a file is passed over in silence. Ports are
published where the file says, but under free numbers; a subnet that another test has at the moment is another one, in the files
that are mounted as well.
"""

from __future__ import annotations

import random
import re
import tempfile
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

from xds_server.testing.waiting import wait_until

if TYPE_CHECKING:
    from docker.models.containers import Container

SECOND = 1_000_000_000
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
_FIELDS = {
    "image", "build", "command", "entrypoint", "environment", "volumes", "networks", "ports", "depends_on", "healthcheck",
    "user", "read_only", "tmpfs", "cap_drop", "security_opt", "restart",
}  # fmt: skip


def load(file: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The file as data, its variables filled in. Raises KeyError for one that it insists on."""

    def value(match: re.Match[str]) -> str:
        name, kind, word = match.groups()
        if environment.get(name):
            return environment[name]
        if kind != "-":
            raise KeyError(f"{name}: {word or 'not set'}")
        return str(word)

    loaded: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(value, file.read_text()))
    return loaded


class Composed:
    """What a file says, running, for as long as the `with` block lasts."""

    def __init__(self, file: Path, environment: Mapping[str, str]) -> None:
        import docker

        self._directory = file.parent
        self._file = load(file, environment)
        self._prefix = f"test-{uuid.uuid4().hex[:8]}-"
        self._docker = docker.from_env()
        self._containers: dict[str, Container] = {}
        self._networks: dict[str, Any] = {}
        self._volumes: dict[str, Any] = {}
        self._moved = ("", "")
        self._copies = tempfile.TemporaryDirectory(prefix="xds-server-compose-")

    def __getitem__(self, service: str) -> Container:
        self._containers[service].reload()
        return self._containers[service]

    def port(self, service: str, port: int) -> int:
        """Where a port of a service is published."""
        (published,) = self[service].ports[f"{port}/tcp"]
        assert published["HostIp"] == "127.0.0.1"
        return int(published["HostPort"])

    def here(self, text: str) -> str:
        """The addresses of the file, as they are here."""
        return text.replace(*self._moved) if self._moved[0] else text

    def logs(self) -> str:
        return "\n".join(f"{name}: {each.logs().decode()}" for name, each in self._containers.items())

    def __enter__(self) -> Self:
        try:
            for name, network in self._file["networks"].items():
                self._networks[name] = self._network(name, network)
            for name in self._file["volumes"]:
                self._volumes[name] = self._docker.volumes.create(self._prefix + name)
            for name, service in self._file["services"].items():
                self._start(name, service)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for container in self._containers.values():
            container.remove(force=True, v=True)
        for made in (*self._networks.values(), *self._volumes.values()):
            made.remove()
        self._docker.close()
        self._copies.cleanup()

    def _network(self, name: str, network: dict[str, Any]) -> Any:
        from docker.errors import APIError
        from docker.types import IPAMConfig, IPAMPool

        assert network.keys() <= {"ipam", "internal"}
        create = partial(self._docker.networks.create, self._prefix + name, internal=network.get("internal", False))
        if "ipam" not in network:
            return create()
        (pool,) = network["ipam"]["config"]
        wanted, others = pool["subnet"].removesuffix("0/24"), random.sample(range(256), 256)
        for prefix in (wanted, *(f"10.89.{number}." for number in others)):
            try:
                made = create(ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=f"{prefix}0/24")]))
            except APIError as error:
                if "overlap" not in str(error):
                    raise
            else:
                self._moved = (wanted, prefix)
                return made
        raise AssertionError("every subnet is taken")

    def _start(self, name: str, service: dict[str, Any]) -> None:
        assert service.keys() <= _FIELDS, service.keys() - _FIELDS
        for other, wanted in service.get("depends_on", {}).items():
            assert wanted == {"condition": "service_healthy"}
            wait_until(lambda other=other: self._is_healthy(other), 60, self.logs)
        networks = service["networks"]
        networks = networks if isinstance(networks, dict) else {each: {} for each in networks}
        container = self._docker.containers.create(
            service["image"],
            service.get("command"),
            name=self._prefix + name,
            entrypoint=service.get("entrypoint"),
            environment=service.get("environment"),
            volumes=[self._volume(each) for each in service.get("volumes", [])],
            ports=dict(map(_port, service.get("ports", []))),
            healthcheck=_healthcheck(service.get("healthcheck")),
            user=service.get("user"),
            read_only=service.get("read_only", False),
            tmpfs=dict.fromkeys(service.get("tmpfs", []), ""),
            cap_drop=service.get("cap_drop"),
            security_opt=service.get("security_opt"),
            restart_policy={"Name": service["restart"]},
            network=self._networks[next(iter(networks))].name,
        )
        self._containers[name] = container
        self._networks[next(iter(networks))].disconnect(container)
        for network, options in networks.items():
            aliases = [name, *options.get("aliases", [])]
            address = self.here(options["ipv4_address"]) if "ipv4_address" in options else None
            self._networks[network].connect(container, aliases=aliases, ipv4_address=address)
        container.start()

    def _volume(self, volume: str) -> str:
        source, _, rest = volume.partition(":")
        return f"{self._copied(source) if source.startswith('.') else self._volumes[source].name}:{rest}"

    def _copied(self, source: str) -> Path:
        """A file or directory beside the compose file, with addresses as they are here."""
        copy = Path(self._copies.name, uuid.uuid4().hex)
        if not (original := self._directory / source).is_dir():
            copy.write_text(self.here(original.read_text()))
            return copy
        copy.mkdir()
        for file in original.iterdir():
            (copy / file.name).write_text(self.here(file.read_text()))
        return copy

    def _is_healthy(self, service: str) -> bool:
        return bool(self[service].attrs["State"]["Health"]["Status"] == "healthy")


def _port(text: str) -> tuple[str, tuple[str, None]]:
    address, _, inside = text.split(":")
    return f"{inside}/tcp", (address, None)


def _healthcheck(check: dict[str, Any] | None) -> dict[str, Any] | None:
    if check is None:
        return None
    if check.get("disable"):
        return {"test": ["NONE"]}
    assert check.keys() <= {"test", "interval", "start_period"}
    times = {
        name: int(check[name].removesuffix("s")) * SECOND for name in ("interval", "start_period") if name in check
    }
    return {"test": check["test"], **times}
