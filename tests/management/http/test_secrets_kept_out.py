"""Secrets that are written out in definitions are in no store, no history, no log and no answer: they are refused."""

import json
from pathlib import Path
from typing import Any

import httpx
import yaml
from management_grpc import Api, refused

from xds_server.testing import XdsServerProcess

SECRET = "hunter2-is-the-password-of-redis"
OPTIONS = {
    "@type": "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions",
    "auth_password": {"inline_string": SECRET},
}
ENVOY = {"typed_extension_protocol_options": {"envoy.filters.network.redis_proxy": OPTIONS}}
PLACE = "/envoy/typed_extension_protocol_options/envoy.filters.network.redis_proxy/auth_password/inline_string"


def stored(server: XdsServerProcess) -> bytes:
    """All that is in the files of the store."""
    path = Path(server.store.removeprefix("sqlite:///"))
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))


def pointers(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    assert SECRET not in answer.text
    return [error["pointer"] for error in answer.json()["errors"]]


def test_through_the_api(server: XdsServerProcess, api: httpx.Client) -> None:
    path = "/v1/upstreams/cache"
    api.put(path, json={"description": "marks the store"}).raise_for_status()
    assert pointers(api.put(path, json={"envoy": ENVOY})) == [PLACE]
    assert pointers(api.patch(path, json={"envoy": ENVOY})) == [PLACE]
    document: dict[str, Any] = {"upstreams": [{"name": "cache", "envoy": ENVOY}]}
    for query in ("", "?dry_run=true"):
        assert pointers(api.post(f"/v1/apply{query}", json=document)) == [f"/upstreams/0{PLACE}"]
    with Api(server.grpc_address) as grpc_api:
        for call in (lambda: grpc_api.put("cache", envoy=ENVOY), lambda: grpc_api.apply(*document["upstreams"])):
            found = refused(call)
            assert found.code == "INVALID_ARGUMENT"
            assert SECRET not in str(found)
    elsewhere = json.loads(json.dumps(ENVOY).replace("inline_string", "filename").replace(SECRET, "/etc/redis"))
    api.put(path, json={"envoy": elsewhere, "protocol": "tcp"}).raise_for_status()
    assert b"/etc/redis" in stored(server)
    assert SECRET.encode() not in stored(server)
    assert SECRET not in server.log


def test_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "definitions" / "a.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump({"upstreams": [{"name": "cache", "description": "marks the store"}]}))
    with XdsServerProcess(path.parent) as server, httpx.Client(base_url=f"http://{server.http_address}") as api:
        made = {"name": "cache", "description": "never served", "envoy": ENVOY}
        path.write_text(yaml.safe_dump({"upstreams": [made]}))
        event = server.wait_for_event("definitions.broken", 30)
        assert "auth_password.inline_string" in str(event)
        assert "a secret may not be written here" in str(event)
        assert api.get("/v1/upstreams/cache").json()["description"] == "marks the store", "the last good one stays"
        assert len(api.get("/v1/revisions").json()["revisions"]) == 1
        assert b"marks the store" in stored(server)
        assert SECRET.encode() not in stored(server)
        assert SECRET not in server.log
