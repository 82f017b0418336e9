"""Who may do what over gRPC: tokens with roles, from the first one on, for as long as they are good."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from certificates import Authority
from grpc_health.v1 import health_pb2, health_pb2_grpc
from management_grpc import TARGET, Api, attempt, refused
from reflected import Reflected
from tokens import token

from xds_server.management.grpc.access import needed_role
from xds_server.management.v1 import definitions_pb2, revisions_pb2, targets_pb2
from xds_server.security.roles import Role
from xds_server.testing import XdsServerProcess

OPERATORS = {"TargetService/Patch", "TargetService/UpdateTargets"}


def test_every_call_needs_a_role(grpc_api: Api) -> None:
    reflected = Reflected(grpc_api.channel)
    services = [name for name in reflected.services if name.startswith("xds_server.")]
    calls = {f"{name.rpartition('.')[2]}/{call}" for name in services for call in reflected.methods(name)}
    needed = {call: needed_role(call, revisions_pb2.ApplyRequest()) for call in calls}
    assert {call for call, role in needed.items() if role is Role.OPERATE} == OPERATORS
    looks = {call.rpartition("/")[2] for call, role in needed.items() if role is Role.READ}
    assert looks == {"Get", "List", "Diff", "Watch"}
    writes = {call.rpartition("/")[2] for call, role in needed.items() if role is Role.WRITE}
    assert writes == {"Put", "Patch", "Delete", "Apply", "Rollback", "Confirm"}
    assert needed_role("RevisionService/Apply", revisions_pb2.ApplyRequest(dry_run=True)) is Role.READ


def allowed(api: Api) -> list[bool]:
    """Which of some calls are let in: looking, a dry run, an operator's, a stream of these, a definition."""
    update = targets_pb2.UpdateTargetsRequest(upstream="guarded", target="10.0.0.1:80", patch={"weight": 1})
    patch = definitions_pb2.PatchDefinitionRequest(name="guarded", json='{"description": "x"}')
    found = [
        attempt(lambda: api.get("guarded")),
        attempt(lambda: api.apply({"name": "guarded"}, dry_run=True)),
        attempt(lambda: api.patch("guarded", "10.0.0.1:80", state="draining")),
        attempt(lambda: api.targets.UpdateTargets(iter([update]))),
        attempt(lambda: api.upstreams.Patch(patch)),
    ]
    assert all(refusal is None or refusal.code == "PERMISSION_DENIED" for refusal in found), found
    return [refusal is None for refusal in found]


def test_roles_from_the_first_token_on() -> None:
    with XdsServerProcess() as server, Api(server.grpc_address) as nobody:
        assert nobody.put("guarded", TARGET).changed, "loopback is admin while there is no token"
        held = {role: token(server, "create", f"by-{role}", "--role", role) for role in ("read", "operate", "write")}
        needed = refused(lambda: nobody.get("guarded"))
        assert needed.code == "UNAUTHENTICATED"
        assert needed.message.startswith("a token is needed")
        found = {}
        for role, text in held.items():
            with Api(server.grpc_address, token=text) as api:
                found[role] = allowed(api)
        assert found == {
            "read": [True, True, False, False, False],
            "operate": [True, True, True, True, False],
            "write": [True, True, True, True, True],
        }
        with Api(server.grpc_address, token=held["read"]) as reader:
            said = refused(lambda: reader.patch("guarded", "10.0.0.1:80", weight=2)).message
            assert said == "TargetService/Patch needs the role operate, and 'by-read' has read: use a token that has it"
            newest, before = reader.revisions.List(revisions_pb2.ListRevisionsRequest(page_size=2)).revisions
            assert (newest.author, newest.client, before.author) == ("by-write", "127.0.0.1", "by-operate")
        with Api(server.grpc_address, token="xds_nonsense") as stranger:
            assert refused(lambda: next(stranger.watch())).code == "UNAUTHENTICATED"
        health = health_pb2_grpc.HealthStub(nobody.channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        assert Reflected(nobody.channel).services
        assert not any(text in server.log for text in held.values()), "a token is in no log"


def test_who_is_not_let_in_any_more_is_told_no_more_and_changes_nothing_more() -> None:
    with XdsServerProcess() as server:
        good = token(server, "create", "good", "--role", "write")
        short = token(server, "create", "short", "--role", "operate")
        with Api(server.grpc_address, token=good) as writer, Api(server.grpc_address, token=short) as api:
            writer.put("watched", TARGET)
            watch = api.watch()
            next(watch)

            def updates() -> Iterator[targets_pb2.UpdateTargetsRequest]:
                where = {"upstream": "watched", "target": "10.0.0.1:80"}
                yield targets_pb2.UpdateTargetsRequest(**where, patch={"weight": 5})
                next(watch)
                token(server, "revoke", "short")
                server.wait_until(lambda: attempt(lambda: api.get("watched")), 10, "the end of the token")
                yield targets_pb2.UpdateTargetsRequest(**where, patch={"weight": 0})

            assert refused(lambda: api.targets.UpdateTargets(updates(), timeout=60)).code == "UNAUTHENTICATED"
            assert writer.target("watched", "10.0.0.1:80").weight == 5
            last = writer.put("watched").revision
            with pytest.raises(grpc.RpcError) as error:
                assert all(answer.revision < last for answer in watch)
            assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_the_port_speaks_tls_where_the_others_do(tmp_path: Path) -> None:
    authority = Authority()
    pair = authority.issue(tmp_path / "server", "localhost", "127.0.0.1")
    clients = authority.write(tmp_path / "ca.pem")
    args = ["--tls-cert", str(pair.cert), "--tls-key", str(pair.key), "--tls-client-ca", str(clients)]
    credentials = grpc.ssl_channel_credentials(authority.pem)
    with XdsServerProcess(args=args) as server, Api(server.grpc_address, credentials=credentials) as api:
        assert api.put("over-tls", TARGET).changed, "without a certificate of the client's own"
        with Api(server.grpc_address) as plain:
            assert refused(lambda: plain.get("over-tls")).code == "UNAVAILABLE"


def test_what_other_machines_reach_is_refused_without_tls_and_a_token(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"--grpc-address 0\.0\.0\.0:0: other machines reach it, in plain text"):
        XdsServerProcess(grpc_address="0.0.0.0:0").start()
