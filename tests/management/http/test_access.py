"""Who may do what over HTTP: tokens with roles, made by the command line, from the first one on."""

import httpx
import pytest
from starlette.datastructures import QueryParams
from tokens import token

from xds_server.management.http.access import needed_role
from xds_server.security.roles import Role
from xds_server.testing import XdsServerProcess

TARGET = {"host": "10.0.0.1", "port": 80}


def test_roles_from_the_first_token_on(server: XdsServerProcess, api: httpx.Client) -> None:
    put = "/v1/upstreams/guarded"
    assert api.put(put, json={"targets": [TARGET]}).status_code == 201, "loopback is admin while there is no token"
    held = {role: token(server, "create", f"by-{role}", "--role", role) for role in ("read", "operate", "write")}
    none = api.get("/v1/upstreams")
    assert (none.status_code, none.headers["www-authenticate"]) == (401, "Bearer")
    assert "a token is needed" in none.json()["detail"]
    as_role = {role: {"Authorization": f"Bearer {text}"} for role, text in held.items()}
    patch = f"{put}/targets/10.0.0.1:80"
    document = {"upstreams": [{"name": "guarded"}]}
    allowed = {
        role: [
            api.get(put, headers=headers).status_code,
            api.post("/v1/apply?dry_run=true", json=document, headers=headers).status_code,
            api.patch(patch, json={"state": "draining"}, headers=headers).status_code,
            api.patch(put, json={"description": role}, headers=headers).status_code,
        ]
        for role, headers in as_role.items()
    }
    assert allowed == {"read": [200, 200, 403, 403], "operate": [200, 200, 200, 403], "write": [200, 200, 200, 200]}
    refused = api.patch(patch, json={"state": None}, headers=as_role["read"]).json()["detail"]
    assert "needs the role operate, and 'by-read' has read" in refused
    revisions = api.get("/v1/revisions", headers=as_role["read"]).json()["revisions"]
    assert [(one["author"], one["client"]) for one in revisions[:2]] == [
        ("by-write", "127.0.0.1"),
        ("by-operate", "127.0.0.1"),
    ]
    assert api.get("/healthz").status_code == api.get("/readyz").status_code == 200
    assert not any(text in server.log for text in held.values()), "a token is in no log"
    for role in held:
        token(server, "revoke", f"by-{role}")


@pytest.mark.parametrize(
    ("query", "role"),
    [
        ("dry_run=true", Role.READ),
        ("dry_run=Y", Role.READ),
        ("dry_run=1&dry_run=on", Role.READ),
        ("", Role.WRITE),
        ("dry_run=false", Role.WRITE),
        ("dry_run=true&dry_run=false", Role.WRITE),
        ("dry_run=false&dry_run=true", Role.WRITE),
        ("dry_run=", Role.WRITE),
        ("dry_run=true&with_envoy=true", Role.WRITE),
        ("dry_run=true&with_envoy=true&with_envoy=false", Role.WRITE),
        ("dry_run=true&with_envoy=false", Role.READ),
    ],
)
def test_a_dry_run_is_one_by_every_word_and_an_envoy_is_asked_for_by_any(query: str, role: Role) -> None:
    assert needed_role("POST", "/v1/apply", QueryParams(query)) is role


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer xds_nonsense"}, {"Origin": "http://elsewhere.example"}])
def test_who_is_not_let_in_even_on_loopback(api: httpx.Client, headers: dict[str, str]) -> None:
    assert api.get("/v1/upstreams", headers=headers).status_code in (401, 403)
