"""Probes over TLS and in plaintext, like the traffic and unlike it."""

from collections.abc import Iterator

import pytest
from probing import judged, probed_by
from receiving_server import CA_FILE, ReceivingServer
from served_upstreams import ServedUpstreams, target

pytestmark = pytest.mark.envoy

SECTION = "Active health checks"
SNI = {"ca_file": CA_FILE, "sni": "payments.internal"}


@pytest.fixture
def server() -> Iterator[ReceivingServer]:
    with ReceivingServer() as started:
        yield started


@pytest.fixture
def tls_server() -> Iterator[ReceivingServer]:
    with ReceivingServer(tls=True) as started:
        yield started


@pytest.mark.feature(SECTION, "probes go over TLS where the traffic does, with its server name and its authorities")
def test_probes_go_over_the_tls_of_the_traffic(rig: ServedUpstreams, tls_server: ReceivingServer) -> None:
    names = {"payments.internal": ["127.0.0.1"], "other.internal": ["127.0.0.1"]}
    by_name, by_other = (target(tls_server, host=name) for name in names)
    other_ca = CA_FILE.replace("ca.pem", "other-ca.pem")
    judged(
        rig,
        ({"targets": [target(tls_server)], "tls": SNI, "health_checks": probed_by()}, True),
        ({"targets": [target(tls_server)], "tls": SNI, "health_checks": probed_by(type="https", path="/s")}, True),
        ({"targets": [target(tls_server)], "tls": {**SNI, "ca_file": other_ca}, "health_checks": probed_by()}, False),
        ({"targets": [target(tls_server)], "tls": {**SNI, "sni": "no.internal"}, "health_checks": probed_by()}, False),
        # Each target asked by its own name.
        (
            {
                "targets": [by_name],
                "tls": {"ca_file": CA_FILE},
                "health_checks": probed_by(),
            },
            True,
        ),
        (
            {
                "targets": [by_other],
                "tls": {"ca_file": CA_FILE},
                "health_checks": probed_by(),
            },
            False,
        ),
        # The probes' own TLS too, where the traffic's has no name that is the same for all.
        ({"targets": [by_name], "tls": {"verify": False}, "health_checks": probed_by(tls={"ca_file": CA_FILE})}, True),
        (
            {"targets": [by_other], "tls": {"verify": False}, "health_checks": probed_by(tls={"ca_file": CA_FILE})},
            False,
        ),
        **names,
    )
    assert {seen.path for seen in tls_server.received} == {"/", "/s"}
    assert {seen.server_name for seen in tls_server.received} == {"payments.internal"}


@pytest.mark.feature(SECTION, "https probes of targets whose traffic is plaintext use TLS of their own")
def test_https_probes_of_plaintext_targets(
    rig: ServedUpstreams, server: ReceivingServer, tls_server: ReceivingServer
) -> None:
    own = {"port": tls_server.port}
    targets = [target(server, health_check=own)]
    good, *_ = judged(
        rig,
        ({"targets": targets, "health_checks": probed_by(type="https", path="/probe", tls=SNI)}, True),
        ({"targets": targets, "health_checks": probed_by(type="https", tls={"verify": False})}, True),
        ({"targets": targets, "health_checks": probed_by(type="https", tls={**SNI, "sni": "no.internal"})}, False),
        ({"targets": targets, "health_checks": probed_by()}, False),  # plain text to a port that wants TLS
        ({"targets": [target(server)], "health_checks": probed_by(type="https", tls={"verify": False})}, False),
    )
    assert rig.ask(good, "/traffic").status == 200
    assert [seen.path for seen in server.received if not seen.server_name] == ["/traffic"]
    assert ("/probe", "payments.internal") in {(seen.path, seen.server_name) for seen in tls_server.received}


@pytest.mark.feature(SECTION, "plaintext probes reach a plain port of targets whose traffic goes over TLS")
def test_plaintext_probes_of_tls_targets(
    rig: ServedUpstreams, server: ReceivingServer, tls_server: ReceivingServer
) -> None:
    plain = [target(tls_server, health_check={"port": server.port})]
    good, *_ = judged(
        rig,
        ({"targets": plain, "tls": SNI, "health_checks": probed_by(path="/probe", plaintext=True)}, True),
        ({"targets": plain, "tls": SNI, "health_checks": probed_by()}, False),  # TLS to a plain port
        ({"targets": [target(tls_server)], "tls": SNI, "health_checks": probed_by(plaintext=True)}, False),
        # A connection that is opened and closed is no handshake.
        ({"targets": [target(tls_server)], "tls": SNI, "health_checks": probed_by(type="tcp", plaintext=True)}, True),
    )
    assert rig.ask(good, "/traffic").status == 200
    assert [(seen.path, seen.server_name) for seen in tls_server.received] == [("/traffic", "payments.internal")]
    assert {seen.path for seen in server.received} == {"/probe"}


@pytest.mark.feature(SECTION, "probes may ask for another server name than the traffic does")
def test_probes_with_a_server_name_of_their_own(rig: ServedUpstreams, tls_server: ReceivingServer) -> None:
    own = {**SNI, "sni": "probe.wild.internal"}
    (name,) = judged(
        rig, ({"targets": [target(tls_server)], "tls": SNI, "health_checks": probed_by(path="/p", tls=own)}, True)
    )
    assert rig.ask(name, "/traffic").status == 200
    asked = {(seen.path, seen.server_name) for seen in tls_server.received}
    assert asked == {("/p", "probe.wild.internal"), ("/traffic", "payments.internal")}
