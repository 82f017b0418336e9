"""The definition format: what operators write, as typed and checked data. Knows nothing of Envoy's messages."""

from xds_server.upstreams.model.active_checks import ActiveHealthCheck, ProbeTls
from xds_server.upstreams.model.base import Definition, Problem, problems_of, reject
from xds_server.upstreams.model.dns import Dns
from xds_server.upstreams.model.document import Clash, Document, Located, Placed, clashes, may_share_envoy
from xds_server.upstreams.model.gateway import Gateway
from xds_server.upstreams.model.health import HealthChecks
from xds_server.upstreams.model.keepalive import Http2Keepalive, Keepalive, TcpKeepalive
from xds_server.upstreams.model.localities import Localities, LocalityWeight
from xds_server.upstreams.model.nodes import NodeSelector
from xds_server.upstreams.model.passive_checks import FailurePercentage, PassiveHealthCheck, SuccessRate
from xds_server.upstreams.model.raw import RawCluster
from xds_server.upstreams.model.scalars import RESERVED_NAME, format_duration
from xds_server.upstreams.model.target import Locality, Target, TargetHealthCheck
from xds_server.upstreams.model.tls import Tls
from xds_server.upstreams.model.traffic import BackOff, HashKey, Limits, Retries, RetryBudget, SlowStart
from xds_server.upstreams.model.upstream import EQUAL_SHARES, HASHING, Algorithm, Upstream, weight_contradictions

__all__ = [
    "EQUAL_SHARES",
    "HASHING",
    "RESERVED_NAME",
    "ActiveHealthCheck",
    "Algorithm",
    "BackOff",
    "Clash",
    "Definition",
    "Dns",
    "Document",
    "FailurePercentage",
    "Gateway",
    "HashKey",
    "HealthChecks",
    "Http2Keepalive",
    "Keepalive",
    "Limits",
    "Localities",
    "Locality",
    "LocalityWeight",
    "Located",
    "NodeSelector",
    "PassiveHealthCheck",
    "Placed",
    "ProbeTls",
    "Problem",
    "RawCluster",
    "Retries",
    "RetryBudget",
    "SlowStart",
    "SuccessRate",
    "Target",
    "TargetHealthCheck",
    "TcpKeepalive",
    "Tls",
    "Upstream",
    "clashes",
    "format_duration",
    "may_share_envoy",
    "problems_of",
    "reject",
    "weight_contradictions",
]
