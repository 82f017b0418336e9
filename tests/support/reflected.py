"""A client that knows nothing but an address: services, methods and messages are what the server's reflection says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class Reflected:
    """Calls by name, with plain data in and out, as tools such as grpcurl make them."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._database = ProtoReflectionDescriptorDatabase(channel)
        self._pool = DescriptorPool(self._database)

    @property
    def services(self) -> list[str]:
        return sorted(self._database.get_services())

    def methods(self, service: str) -> dict[str, Callable[..., Any]]:
        """By name, the methods of a service. Each takes plain data, or a list where it takes a stream."""
        found: ServiceDescriptor = self._pool.FindServiceByName(service)
        return {method.name: self._method(found.full_name, method) for method in found.methods}

    def _method(self, service: str, method: Any) -> Callable[..., Any]:
        takes, gives = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
        call = getattr(self._channel, kind)(
            f"/{service}/{method.name}",
            request_serializer=takes.SerializeToString,
            response_deserializer=gives.FromString,
        )

        def called(data: Any = None, **fields: Any) -> Any:
            if method.client_streaming:
                return _plain(call((ParseDict(each, takes()) for each in data), timeout=30))
            answer = call(ParseDict(fields, takes()), timeout=30)
            return _each(answer) if method.server_streaming else _plain(answer)

        return called


def _plain(message: Any) -> dict[str, Any]:
    return dict(MessageToDict(message, preserving_proto_field_name=True))


def _each(call: Any) -> Iterator[dict[str, Any]]:
    try:
        for message in call:
            yield _plain(message)
    finally:
        call.cancel()
