"""What the replicas that share a store tell each other of their parts of the fleet. Start at `Sharing`."""

from xds_server.replicas.sharing import Sharing

__all__ = ["Sharing"]
