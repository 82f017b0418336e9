"""What each role of a token can do to the traffic of a real Envoy, over HTTP and gRPC, and what one that was revoked cannot."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from management_grpc import Api, attempt, refused
from rig import Rig, target
from tokens import token

from xds_server.testing import Backends

pytestmark = pytest.mark.envoy
ROLES = ("read", "operate", "write", "admin")
SHOP = "/v1/upstreams/shop"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path) as rig:
        yield rig


def test_only_who_may_moves_traffic(rig: Rig) -> None:
    with Backends("a", "b") as (a, b), ExitStack() as stack:
        url = f"http://{rig.server.http_address}"
        at_once = {"common_lb_config": {"update_merge_window": "0s"}}

        def shop(*backends: Any) -> dict[str, Any]:
            return {"targets": [target(each) for each in backends], "envoy": at_once}

        httpx.put(url + SHOP, json=shop(a, b)).raise_for_status()
        rig.serves("shop", a, b)
        rig.routes("shop")
        texts = {role: token(rig.server, "create", f"e2e-{role}", "--role", role) for role in ROLES}
        http = {
            role: stack.enter_context(httpx.Client(base_url=url, headers={"Authorization": f"Bearer {text}"}))
            for role, text in texts.items()
        }
        grpc = {role: stack.enter_context(Api(rig.server.grpc_address, token=text)) for role, text in texts.items()}
        drain = {"state": "draining"}
        head = http["read"].get("/v1/revisions").json()["revisions"][0]["revision"]

        # Those who look change nothing.
        assert httpx.patch(f"{url}{SHOP}/targets/{a.address}", json=drain).status_code == 401
        assert http["read"].patch(f"{SHOP}/targets/{a.address}", json=drain).status_code == 403
        assert refused(lambda: grpc["read"].patch("shop", a.address, **drain)).code == "PERMISSION_DENIED"
        for role in ("read", "operate"):
            assert http[role].put(SHOP, json=shop(a)).status_code == 403
            assert http[role].delete(SHOP).status_code == 403
            assert refused(lambda role=role: grpc[role].put("shop", target(a))).code == "PERMISSION_DENIED"  # type: ignore[misc]
        assert http["read"].get("/v1/revisions").json()["revisions"][0]["revision"] == head
        assert rig.send("shop", 20) == {"a": 10, "b": 10}

        # Operators move it, those who write define it.
        http["operate"].patch(f"{SHOP}/targets/{a.address}", json=drain).raise_for_status()
        rig.serves("shop", a, b, a="DRAINING")
        assert rig.send("shop", 20) == {"b": 20}
        grpc["operate"].patch("shop", a.address, clear=["state"])
        rig.serves("shop", a, b)
        http["write"].put(SHOP, json=shop(a)).raise_for_status()
        rig.serves("shop", a)
        assert rig.send("shop", 20) == {"a": 20}
        http["admin"].put(SHOP, json=shop(b)).raise_for_status()
        rig.serves("shop", b)

        # One that was revoked does nothing any more, a moment later, and Envoy goes on.
        token(rig.server, "revoke", "e2e-write")
        late = http["write"]
        rig.server.wait_until(lambda: late.get(SHOP).status_code == 401, 10, "the end of the token")
        rig.server.wait_until(lambda: attempt(lambda: grpc["write"].get("shop")), 10, "its end over gRPC")
        assert late.put(SHOP, json=shop(a)).status_code == 401
        assert refused(lambda: grpc["write"].put("shop", target(a))).code == "UNAUTHENTICATED"
        assert rig.send("shop", 20) == {"b": 20}
        authors = [one["author"] for one in http["read"].get("/v1/revisions?limit=4").json()["revisions"]]
        assert authors == ["e2e-admin", "e2e-write", "e2e-operate", "e2e-operate"]
