"""How an upstream learns which of its targets can serve: probes (active) and real requests (passive)."""

from xds_server.upstreams.model.active_checks import ActiveHealthCheck
from xds_server.upstreams.model.base import Definition
from xds_server.upstreams.model.passive_checks import PassiveHealthCheck


class HealthChecks(Definition):
    """Both kinds of checks. Default: none."""

    active: ActiveHealthCheck | None = None
    """Probes. Default: none. Envoy: `Cluster.health_checks`."""
    passive: PassiveHealthCheck | None = None
    """Ejection by failed requests. Default: none. Envoy: `Cluster.outlier_detection`."""
