"""Which definition, and which field of it, an Envoy's words are about."""

from typing import Any

import pytest

from xds_server.catalog.contents import Contents
from xds_server.catalog.planning import put
from xds_server.catalog.store.records import GATEWAY, UPSTREAM, Change
from xds_server.management.blame import blame
from xds_server.upstreams.model import Gateway, Upstream
from xds_server.xds import CLUSTER, ENDPOINTS, LISTENER, SECRET


def contents(*definitions: Upstream | Gateway) -> Contents:
    made = Contents()
    for number, value in enumerate(definitions, 1):
        kind = UPSTREAM if isinstance(value, Upstream) else GATEWAY
        made.apply(number, {(kind, value.name): Change("added", put(value).entry)})
    return made


def upstream(**fields: Any) -> Upstream:
    return Upstream.model_validate({"name": "payments", "targets": [{"host": "10.0.0.1", "port": 8080}], **fields})


@pytest.mark.parametrize(
    ("fields", "words", "field"),
    [
        ({"tls": {"sni": "a.example", "ca_file": "/etc/ca.pem"}}, "payments: Invalid path: /etc/ca.pem", "tls.ca_file"),
        ({"tls": {"sni": "a.example", "ca_file": "/etc/ca.pem"}}, "payments: Invalid path: /etc/ca.pem.old", ""),
        (
            {"envoy": {"transport_socket": {"name": "no.such"}}},
            "payments: no 'no.such' here",
            "envoy.transport_socket.name",
        ),
        ({}, "payments: malformed IP address: 10.0.0.1", "targets[0].host"),
        ({"description": "payments are broken"}, "Error adding payments are broken", ""),
        ({}, "payments: something else", ""),
    ],
    ids=["file", "longer", "nested", "target", "never-sent", "unknown"],
)
def test_the_field_is_the_one_whose_value_envoy_names(fields: dict[str, Any], words: str, field: str) -> None:
    (found,) = blame(CLUSTER, ("payments",), words, contents(upstream(**fields)))
    assert found == ("upstream", "payments", field)


def test_resources_lead_to_definitions() -> None:
    known = contents(upstream(), Gateway.model_validate({"name": "public", "port": 10000}))
    assert str(*blame(LISTENER, ("public",), "public: cannot bind '0.0.0.0:10000'", known)) == "gateway public: port"
    assert str(*blame(ENDPOINTS, ("payments#0123456789ab",), "no", known)) == "upstream payments"
    secret = contents(upstream(tls={"sni": "a.example", "ca_file": "/etc/ca.pem"}))
    assert str(*blame(SECRET, (), "Invalid path: /etc/ca.pem", secret)) == "upstream payments: tls.ca_file"
    assert blame(SECRET, (), "Invalid path: /etc/other.pem", secret) == ()
    assert blame(CLUSTER, ("gone",), "gone: no", known) == ()
