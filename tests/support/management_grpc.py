"""The management's gRPC services, as a client has them, and what their errors say."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from xds_server.management.v1 import (
    definitions_pb2,
    definitions_pb2_grpc,
    nodes_pb2_grpc,
    results_pb2,
    revisions_pb2,
    revisions_pb2_grpc,
    targets_pb2,
    targets_pb2_grpc,
)

TARGET = {"host": "10.0.0.1", "port": 80}


class Api:
    """A channel, and a stub for each service."""

    def __init__(
        self,
        address: str,
        options: Sequence[tuple[str, Any]] = (),
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: str = "",
    ) -> None:
        """`credentials`: default plain text."""
        options = [("grpc.enable_retries", 0), *options]
        if credentials is None:
            self.channel = grpc.insecure_channel(address, options=options)
        else:
            self.channel = grpc.secure_channel(address, credentials, options=options)
        if token:
            self.channel = grpc.intercept_channel(self.channel, _Authorized(token))
        self.nodes = nodes_pb2_grpc.NodeServiceStub(self.channel)
        self.upstreams = definitions_pb2_grpc.UpstreamServiceStub(self.channel)
        self.gateways = definitions_pb2_grpc.GatewayServiceStub(self.channel)
        self.targets = targets_pb2_grpc.TargetServiceStub(self.channel)
        self.revisions = revisions_pb2_grpc.RevisionServiceStub(self.channel)

    def put(self, name: str, *targets: dict[str, Any], message: str = "", **fields: Any) -> results_pb2.WriteResult:
        """Define an upstream."""
        text = json.dumps({"targets": list(targets), **fields})
        request = definitions_pb2.PutDefinitionRequest(name=name, json=text, message=message)
        return self.upstreams.Put(request, timeout=30)  # type: ignore[no-any-return]

    def get(self, name: str) -> definitions_pb2.Definition:
        return self.upstreams.Get(definitions_pb2.GetDefinitionRequest(name=name), timeout=30)  # type: ignore[no-any-return]

    def patch(self, upstream: str, target: str, **fields: Any) -> results_pb2.WriteResult:
        """Lay an override over a target."""
        patch = targets_pb2.TargetPatch(**fields)
        request = targets_pb2.PatchTargetRequest(upstream=upstream, target=target, patch=patch)
        return self.targets.Patch(request, timeout=30)  # type: ignore[no-any-return]

    def target(self, upstream: str, target: str) -> targets_pb2.Target:
        return self.targets.Get(targets_pb2.GetTargetRequest(upstream=upstream, target=target), timeout=30)  # type: ignore[no-any-return]

    def apply(self, *upstreams: dict[str, Any], **fields: Any) -> revisions_pb2.ApplyResponse:
        """Apply a document of upstreams."""
        request = revisions_pb2.ApplyRequest(json=json.dumps({"upstreams": upstreams}), **fields)
        return self.revisions.Apply(request, timeout=60)  # type: ignore[no-any-return]

    def watch(self, after: int | None = None, timeout: float = 60) -> Any:
        """Follow the revisions after one."""
        return self.revisions.Watch(revisions_pb2.WatchRequest(after_revision=after), timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.channel.close()


class _Authorized(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
):
    """Sends a token with each call."""

    def __init__(self, token: str) -> None:
        self._metadata = (("authorization", f"Bearer {token}"),)

    def _call(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(details._replace(metadata=self._metadata), request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = _call


@dataclass(frozen=True)
class Refusal:
    """How a call ended that was refused."""

    code: str
    message: str
    fields: dict[str, str] = field(default_factory=dict)
    """What is wrong with each field, by its path."""


def refusal(error: grpc.RpcError) -> Refusal:
    """What an error says."""
    metadata = dict(error.trailing_metadata() or ())
    fields: dict[str, str] = {}
    if raw := metadata.get("grpc-status-details-bin"):
        status = status_pb2.Status.FromString(raw)
        assert status.code == error.code().value[0]
        assert status.message == error.details()
        (packed,) = status.details
        fields = _fields(packed)
    return Refusal(error.code().name, str(error.details()), fields)


def _fields(packed: any_pb2.Any) -> dict[str, str]:
    found = error_details_pb2.BadRequest()
    assert packed.Unpack(found)
    return {each.field: each.description for each in found.field_violations}


def attempt(call: Callable[[], Any]) -> Refusal | None:
    """Make a call that may be refused."""
    try:
        call()
    except grpc.RpcError as error:
        return refusal(error)
    return None


def refused(call: Callable[[], Any]) -> Refusal:
    """Make a call that must be refused."""
    found = attempt(call)
    assert found is not None, "it was answered"
    return found
