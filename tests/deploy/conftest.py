"""What a running control plane with an Envoy exports, and Prometheus' own tool."""

import shutil

import pytest
from prometheus_client.parser import text_string_to_metric_families

from xds_server.bootstrap import Bootstrap
from xds_server.testing import EnvoyProcess, XdsServerProcess

Exported = dict[str, set[str]]
"""Labels by name of a series."""


@pytest.fixture(scope="session")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed: .ci/promtool installs it, from Debian's package prometheus")
    return found


@pytest.fixture(scope="session")
def exported() -> Exported:
    """Of a control plane that has served a definition to an Envoy."""
    with XdsServerProcess() as server:
        bootstrap = Bootstrap(node_id="edge-1", xds_address=server.xds_address, static_listener=0)
        with EnvoyProcess(bootstrap) as envoy:
            envoy.wait_for_ready()
            for port in (1, 2):  # how long the first one takes is not measured: with it delivery begins
                target = f"{{host: 127.0.0.1, port: {port}}}"
                server.wait_until_acknowledged(server.apply(f"upstreams: [{{name: payments, targets: [{target}]}}]"))
            text = server.api("GET", "/metrics")
    found: Exported = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found
