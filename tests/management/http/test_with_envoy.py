"""A dry run and a difference, which a real Envoy of the server's machine loads."""

import sys
from typing import Any, ClassVar

import httpx
import pytest
from tokens import token

from xds_server.testing import XdsServerProcess

pytestmark = pytest.mark.envoy
TARGET = {"host": "10.0.0.1", "port": 80}
MAGLEV = {"@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.maglev.v3.Maglev", "table_size": 100}
EXTENSION = {"typed_extension_config": {"name": "maglev", "typed_config": MAGLEV}}
ODD = {"load_balancing_policy": {"policies": [EXTENSION]}}
"""What no rule of a field forbids: Envoy itself wants a prime."""
_WITHOUT = """
from xds_server import envoy_binary
from xds_server.delivery import trial
def none():
    raise envoy_binary.EnvoyNotFoundError("no Envoy binary")
trial.find_envoy = none
from xds_server.cli.commands import run
run()
"""


class WithoutEnvoy(XdsServerProcess):
    command: ClassVar[tuple[str, ...]] = (sys.executable, "-c", _WITHOUT)


def dry_run(api: httpx.Client, *upstreams: dict[str, Any], **more: Any) -> Any:
    document = {"upstreams": upstreams, **more}
    answer = api.post("/v1/apply", json=document, params={"dry_run": True, "with_envoy": True})
    assert answer.is_success, answer.text
    return answer.json()


def test_only_what_the_change_touches_is_loaded(api: httpx.Client) -> None:
    for name in ("there", "forwarded"):
        api.put(f"/v1/upstreams/{name}", json={"targets": [TARGET], "protocol": "tcp"}).raise_for_status()
    before = api.get("/v1/revisions").json()
    made = dry_run(api, {"name": "new", "targets": [{"host": "db.example", "port": 80}]})
    assert {change["name"] for change in made["changes"]} == {"new"}
    assert made["envoy"].pop("version").startswith("1.")
    assert made["envoy"] == {"checked": 1, "refused": []}
    gateway = {"name": "tcp", "address": "127.0.0.1", "port": 7432, "upstream": "forwarded"}
    with_need = dry_run(api, gateways=[gateway])["envoy"]
    assert (with_need["checked"], with_need["refused"]) == (2, []), "a gateway, and the upstream that it needs"
    assert dry_run(api, {"name": "there", "targets": [TARGET], "protocol": "tcp"})["envoy"]["checked"] == 0
    assert "envoy" not in api.post("/v1/apply?dry_run=true", json={"upstreams": []}).json()
    assert api.get("/v1/revisions").json() == before


def test_what_envoy_refuses_is_named_in_its_words(api: httpx.Client) -> None:
    found = dry_run(api, {"name": "sound", "targets": [TARGET]}, {"name": "odd", "envoy": ODD})
    assert len(found["changes"]) == 2
    (refused,) = found["envoy"]["refused"]
    assert (refused["kind"], refused["name"]) == ("upstream", "odd")
    assert "prime" in refused["detail"]
    assert api.get("/v1/upstreams/odd").status_code == 404


def test_the_difference_of_revisions_is_loaded_too(api: httpx.Client) -> None:
    made = api.put("/v1/upstreams/later-odd", json={"envoy": ODD}).json()["revision"]
    (refused,) = api.get(f"/v1/revisions/{made}/diff", params={"with_envoy": True}).json()["envoy"]["refused"]
    assert refused["name"] == "later-odd"
    back = api.get(f"/v1/revisions/{made}/diff", params={"with_envoy": True, "to": made - 1}).json()
    assert (back["envoy"]["checked"], back["envoy"]["refused"]) == (0, []), "what goes is not loaded"


def test_only_with_a_dry_run(api: httpx.Client) -> None:
    answer = api.post("/v1/apply?with_envoy=true", json={"upstreams": [{"name": "not-made"}]})
    assert answer.status_code == 422
    assert "dry_run=true" in answer.json()["detail"]
    assert api.get("/v1/upstreams/not-made").status_code == 404


def test_it_needs_the_role_write(server: XdsServerProcess, api: httpx.Client) -> None:
    roles = {role: token(server, "create", f"tries-{role}", "--role", role) for role in ("operate", "write")}
    try:
        for query in ("with_envoy=true", "with_envoy=false&with_envoy=on", "with_envoy=on&with_envoy=0"):
            for method, path in (("POST", "/v1/apply?dry_run=true&"), ("GET", "/v1/revisions/1/diff?")):
                body = {"json": {"upstreams": []}} if method == "POST" else {}
                as_role = {
                    role: api.request(method, path + query, headers={"Authorization": f"Bearer {text}"}, **body)
                    for role, text in roles.items()
                }
                assert as_role["operate"].status_code == 403
                assert "needs the role write" in as_role["operate"].json()["detail"]
                assert as_role["write"].status_code == 200, as_role["write"].text
    finally:
        for role in roles:
            token(server, "revoke", f"tries-{role}")


def test_a_server_without_envoy_says_so() -> None:
    with WithoutEnvoy() as server, httpx.Client(base_url=f"http://{server.http_address}", timeout=30) as api:
        answer = api.post("/v1/apply?dry_run=true&with_envoy=true", json={"upstreams": [{"name": "a"}]})
        assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
        assert "this server has no Envoy" in answer.json()["detail"]
        assert api.post("/v1/apply?dry_run=true", json={"upstreams": [{"name": "a"}]}).is_success


def test_certificates_on_the_machines_of_other_envoys_are_not_looked_for_here(api: httpx.Client) -> None:
    target = {"host": "db.example", "port": 80}
    files = {"ca_file": "/nowhere/ca.pem", "cert_file": "/nowhere/c.pem", "key_file": "/nowhere/k.pem"}
    tls = {"name": "tls", "targets": [target], "tls": files}
    probes = {
        "name": "probes",
        "targets": [target],
        "health_checks": {"active": {"tls": {"sni": "a", "ca_file": "/nowhere/ca.pem"}}},
    }
    common = {
        "tls_certificates": [
            {"certificate_chain": {"filename": "/nowhere/c.pem"}, "private_key": {"filename": "/nowhere/k.pem"}}
        ],
        "validation_context": {"trusted_ca": {"filename": "/nowhere/ca.pem"}},
    }
    context = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": common,
    }
    own = {"name": "own", "envoy": {"transport_socket": {"name": "tls", "typed_config": context}}}
    found = dry_run(api, tls, probes, own)["envoy"]
    assert (found["checked"], found["refused"]) == (3, [])
    wrong = {**tls, "envoy": ODD}
    (refused,) = dry_run(api, wrong, probes)["envoy"]["refused"]
    assert (refused["name"], "prime" in refused["detail"]) == ("tls", True), "all else is loaded"
    lua = {"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"}
    source = {"default_source_code": {"filename": "/nowhere/a.lua"}}
    chain = [
        {"name": "lua", "typed_config": {**lua, **source}},
        {
            "name": "codec",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
            },
        },
    ]
    options = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "http_filters": chain,
    }
    extension = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
    other = {"name": "other-file", "envoy": {"typed_extension_protocol_options": extension}}
    (refused,) = dry_run(api, other)["envoy"]["refused"]
    assert "/nowhere/a.lua" in refused["detail"]
