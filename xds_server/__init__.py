"""A standalone Envoy control plane: upstream definitions in, Envoy resources out over xDS."""

__version__ = "0.1.0"
