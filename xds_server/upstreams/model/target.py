"""One target of an upstream: where it is, how much it gets, and the state that an operator gave it."""

from collections.abc import Mapping
from typing import ClassVar, Final, Literal

from pydantic import Field, StrictBool

from xds_server.upstreams.model.active_checks import ActiveHealthCheck
from xds_server.upstreams.model.base import Definition
from xds_server.upstreams.model.scalars import (
    SRV,
    Address,
    Host,
    Instant,
    Labels,
    OneLine,
    Port,
    Priority,
    TargetPort,
    Text,
    Weight,
    is_address,
)

TargetState = Literal["enabled", "draining", "disabled", "unhealthy"]


class Locality(Definition):
    """Where something runs. Envoy: `core.v3.Locality`."""

    region: Text = ""
    """Region, for example ``eu``. Default: none."""
    zone: Text = ""
    """Zone inside the region, for example ``eu-1a``. Default: none."""
    sub_zone: Text = ""
    """Part of the zone, for example a rack. Default: none."""

    @property
    def parts(self) -> tuple[str, str, str]:
        """Region, zone and sub-zone, for comparing."""
        return self.region, self.zone, self.sub_zone


class TargetHealthCheck(Definition):
    """What differs for this target's active probes. Envoy: `Endpoint.health_check_config`.

    Envoy cannot give a single target its own type, path, interval, timeout or thresholds.
    """

    absent: ClassVar[Mapping[str, str]] = {
        field: f"Envoy cannot give one target its own {field}: say it for all in health_checks.active, or give this target an "
        "upstream of its own"
        for field in ActiveHealthCheck.model_fields.keys() - {"host"}  # which is `hostname` here
    }

    port: Port | None = None
    """Port that is probed, 1 to 65535. Default: the target's port. Envoy: `health_check_config.port_value`."""
    address: Address | None = None
    """IP address that is probed. Default: the target's. Envoy: `health_check_config.address`."""
    hostname: OneLine | None = None
    """Host header of the probe. Default: the upstream's. Envoy: `health_check_config.hostname`."""
    disabled: StrictBool = False
    """true: never probed, and counted as healthy by the active checks. Default: false.
    Envoy: `health_check_config.disable_active_health_check`."""


_NO_SETTINGS: Final = TargetHealthCheck()


class Target(Definition):
    """One server of an upstream. Envoy: `endpoint.v3.LbEndpoint`."""

    host: Host
    """IPv4 or IPv6 address, or a host name (Unicode names are converted by IDNA). Required.
    Envoy: `Endpoint.address`."""
    port: TargetPort
    """TCP port, 1 to 65535; or srv: the host's SRV records say ports and names, each of which gives endpoints of its own.
    Their priorities count within that of the target. Their weights multiply its weight, but not for round-robin and
    random, which share equally; 0 counts as 1. Required. Envoy: `Endpoint.address`."""
    weight: Weight = 1
    """Share of traffic relative to the other targets, 0 to 1,000,000; 0 means no new traffic. Default: 1.
    Envoy: `LbEndpoint.load_balancing_weight` (0 is sent as `DRAINING`, as Envoy refuses it)."""
    priority: Priority = 0
    """0 is preferred; a higher number takes over when those before it are down. 0 to 128, gaps are closed. Default: 0.
    Envoy: `LocalityLbEndpoints.priority`."""
    state: TargetState = "enabled"
    """enabled; draining (no new requests, running ones finish); disabled (not sent to Envoy); unhealthy (set by hand). All
    but enabled hold at once: add what takes over before, as with active checks it is used from its first probe on.
    Default: enabled. Envoy: `LbEndpoint.health_status`."""
    drain_until: Instant | None = None
    """Only with `state: draining`: from this time on the target counts as disabled, without another edit. Date, time and
    zone (RFC 3339), for example ``2026-11-24T12:00:00Z``; a time that has passed means disabled now. Default: no end."""
    locality: Locality = Locality()
    """Where the target runs. Default: nowhere in particular. Envoy: `LocalityLbEndpoints.locality`."""
    description: Text = ""
    """For people. Never sent to Envoy."""
    labels: Labels = Field(default_factory=dict)
    """For people and selection. Envoy: `LbEndpoint.metadata` under `xds-server`."""
    health_check: TargetHealthCheck = TargetHealthCheck()
    """What differs for this target's probes. Default: nothing. Envoy: `Endpoint.health_check_config`."""

    @property
    def key(self) -> str:
        """``host:port`` or ``host:srv``, IPv6 in brackets: how a target is named within its upstream."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def needs_resolving(self) -> bool:
        """Whether the host is a name rather than an address."""
        return not is_address(self.host)

    @property
    def is_probed_otherwise(self) -> bool:
        """Whether `health_check` says anything."""
        return "health_check" in self.model_fields_set and self.health_check != _NO_SETTINGS

    @property
    def is_srv(self) -> bool:
        """Whether the host's SRV records say where the endpoints are."""
        return self.port == SRV

    @property
    def lookup(self) -> str:
        """What has to be resolved, for targets that need it: ``host``, or ``host:srv`` for its SRV records."""
        return self.key if self.is_srv else self.host
