"""An Envoy Cluster that a Python caller gives as a typed message: only its bytes are kept."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

BYTES = "@bytes"


@dataclass(frozen=True, slots=True)
class RawCluster:
    """Encoded fields of an Envoy Cluster, to be laid over a translated one."""

    body: bytes

    def to_json(self) -> dict[str, str]:
        """How the override is shown where JSON is wanted; its fields are in the translated cluster."""
        return {BYTES: base64.b64encode(self.body).decode()}


def raw_cluster(value: Any) -> Any:
    """`value` itself, or the bytes of an `envoy_data_plane` (or protobuf) Cluster, or of what `to_json` made of one.

    The message is told by its class, so that `envoy_data_plane` need not be imported (0.4 to 1 s).
    Raises ValueError when what claims to be bytes is not base64.
    """
    kind = type(value)
    if kind.__name__ == "Cluster" and kind.__module__.split(".")[0] in ("envoy_data_plane", "envoy"):
        return RawCluster(value.SerializeToString())
    if isinstance(value, dict) and value.keys() == {BYTES}:
        try:
            return RawCluster(base64.b64decode(value[BYTES], validate=True))
        except (binascii.Error, TypeError, ValueError):
            raise ValueError(f"{BYTES} is not base64") from None
    return value
