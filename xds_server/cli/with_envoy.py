"""`validate --with-envoy`: a real Envoy loads, in its validation mode, what definitions become.

Nothing listens and no target is contacted. What Envoy would take over xDS is given to it as static resources: an
assignment inside a copy of its cluster, the routes inside a listener.
"""

import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import config_source_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from xds_server.cli.errors import fail
from xds_server.cli.static_secrets import use_static_secrets
from xds_server.config_sources import CONTROL_PLANE_CLUSTER
from xds_server.delivery.checking import Checked, resolve
from xds_server.delivery.resolving import addresses_of
from xds_server.testing.binary import find_envoy
from xds_server.upstreams import translate
from xds_server.upstreams.documents import FileProblem
from xds_server.upstreams.model import Gateway, Placed, Upstream

TIMEOUT: Final = 120
"""Seconds that Envoy may take to load everything."""
ENDPOINTS: Final = ":endpoints"
"""Ends the name of the copy of a cluster that holds its endpoints; no upstream's name has a colon."""

_DUMP: Final = re.compile(r":? *goo\.gle/debug.*")
"""Where a message is printed, behind a mark of protobuf's; its fields follow on further lines."""
_VERSION: Final = re.compile(r"/(\d+\.\d+\.\d+)")
"""In `envoy version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`."""
_BEHIND_DUMP: Final = re.compile(r"^: (.+)", re.MULTILINE)

Definition = Placed[Upstream] | Placed[Gateway]


def check_with_envoy(checked: Checked) -> list[FileProblem]:
    """Every definition that the real Envoy refuses, in its words. Raises EnvoyNotFoundError and CommandError."""
    upstreams = [placed.value for placed in checked.upstreams.values()]
    resolved = resolve(upstreams)
    addresses = {name: found for upstream in upstreams for name, found in addresses_of(upstream, resolved).items()}
    return _refused([*checked.upstreams.values(), *checked.gateways.values()], addresses)


def envoy_version() -> str:
    """Which Envoy it was, for people: `Envoy 1.40.0`. Raises EnvoyNotFoundError."""
    said = subprocess.run(
        [str(find_envoy()), "--version"], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    found = _VERSION.search(said.stdout)
    return f"Envoy {found[1]}" if found else "Envoy"


def _refused(definitions: Sequence[Definition], addresses: translate.Addresses) -> list[FileProblem]:
    """Envoy names only the first thing that it refuses: the culprits are found by halving."""
    words = load(static_bootstrap([placed.value for placed in definitions], addresses))
    if words is None:
        return []
    if len(definitions) == 1:
        placed = definitions[0]
        kind = "upstream" if isinstance(placed.value, Upstream) else "gateway"
        return [FileProblem(placed.source, placed.line, f"{kind} {placed.value.name}", f"Envoy refuses it: {words}")]
    half = len(definitions) // 2
    found = _refused(definitions[:half], addresses) + _refused(definitions[half:], addresses)
    together = FileProblem(definitions[0].source, definitions[0].line, "", f"Envoy refuses these together: {words}")
    return found or [together]


def load(bootstrap: Any) -> str | None:
    """Have Envoy load a bootstrap in validation mode; its words when it refuses. Raises CommandError when it hangs."""
    with tempfile.TemporaryDirectory(prefix="xds-server-validate-") as directory:
        path = Path(directory, "bootstrap.pb")
        path.write_bytes(bootstrap.SerializeToString())
        command = [str(find_envoy()), "--mode", "validate", "-c", str(path), "-l", "error", "--log-format", "%v"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            fail(f"Envoy had not loaded the definitions after {TIMEOUT} s: check fewer files at a time")
    if done.returncode == 0:
        return None
    return _words(done.stderr, path) or f"it ended with code {done.returncode} and no word"


def _words(stderr: str, path: Path) -> str:
    """What Envoy says against a bootstrap, in one line: it may print all of the bootstrap before it or behind it."""
    said = (stderr.partition(f"'{path}': ")[2] or stderr).strip()
    behind = _BEHIND_DUMP.search(said)
    line = behind[1] if behind else said.partition("\n")[0]
    return re.sub(f"(?<=[a-z0-9._-]){ENDPOINTS}", "", _DUMP.sub("", line)).strip()


def static_bootstrap(definitions: Sequence[Upstream | Gateway], addresses: translate.Addresses) -> Any:
    """A bootstrap with everything that definitions become."""
    bootstrap = bootstrap_pb2.Bootstrap()
    bootstrap.node.id = bootstrap.node.cluster = "validate"
    ads = bootstrap.dynamic_resources.ads_config
    ads.api_type, ads.transport_api_version = ads.DELTA_GRPC, config_source_pb2.V3
    ads.grpc_services.add().envoy_grpc.cluster_name = CONTROL_PLANE_CLUSTER
    static = bootstrap.static_resources
    static.clusters.add(name=CONTROL_PLANE_CLUSTER).connect_timeout.seconds = 1
    hosts = []
    for definition in definitions:
        if isinstance(definition, Gateway):
            static.listeners.append(translate.listener(definition))
            continue
        cluster = translate.cluster(definition)
        secrets = [*translate.secrets(definition, {})]
        static.secrets.extend(secrets)
        use_static_secrets(cluster, {secret.name for secret in secrets})
        static.clusters.append(cluster)
        assignment = translate.endpoints(definition, addresses)
        if assignment is not None:
            static.clusters.append(_with_endpoints(cluster, assignment))
        if (host := translate.virtual_host(definition)) is not None:
            hosts.append(host)
    static.listeners.append(_listener(translate.route_configuration(hosts)))
    return bootstrap


def _with_endpoints(cluster: Any, assignment: Any) -> Any:
    copy = cluster_pb2.Cluster()
    copy.CopyFrom(cluster)
    copy.name, copy.type = f"{cluster.name}{ENDPOINTS}", cluster_pb2.Cluster.STATIC
    copy.ClearField("eds_cluster_config")
    copy.load_assignment.CopyFrom(assignment)
    return copy


def _listener(routes: Any) -> Any:
    manager = http_connection_manager_pb2.HttpConnectionManager(stat_prefix="validate", route_config=routes)
    manager.http_filters.add(name="router").typed_config.Pack(router_pb2.Router())
    listener = bootstrap_pb2.Bootstrap.StaticResources().listeners.add(name="validate:routes")
    listener.address.socket_address.address = "127.0.0.1"
    listener.address.socket_address.port_value = 0
    listener.filter_chains.add().filters.add(name="http").typed_config.Pack(manager)
    return listener
