"""Small parts that every Envoy message is made of: durations, extensions, addresses, where subscriptions come from."""

from datetime import timedelta
from typing import Any

from envoy.config.core.v3 import address_pb2, config_source_pb2, extension_pb2
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message


def duration(value: timedelta) -> duration_pb2.Duration:
    """A timedelta as protobuf's Duration."""
    message = duration_pb2.Duration()
    message.FromTimedelta(value)
    return message


def packed(message: Message) -> any_pb2.Any:
    """`message` inside an Any, encoded deterministically: equal definitions must give equal bytes."""
    wrapped = any_pb2.Any()
    wrapped.Pack(message, deterministic=True)
    return wrapped


def extension(name: str, message: Message) -> Any:
    """A `core.v3.TypedExtensionConfig`."""
    return extension_pb2.TypedExtensionConfig(name=name, typed_config=packed(message))


def socket_address(host: str, port: int) -> Any:
    """A `core.v3.Address` for TCP. `host` is an IP address, or a name where Envoy resolves names."""
    return address_pb2.Address(socket_address=address_pb2.SocketAddress(address=host, port_value=port))


def from_ads() -> Any:
    """A `core.v3.ConfigSource`: over the aggregated stream that the Envoy already holds."""
    return config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(), resource_api_version=config_source_pb2.ApiVersion.V3
    )
