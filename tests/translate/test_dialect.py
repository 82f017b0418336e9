"""Where a resource says that more of it comes from is the way by which it came; nothing else differs."""

from typing import Any

import pytest
import yaml
from envoy.config.core.v3 import config_source_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from google.protobuf import json_format

from xds_server.bootstrap import Bootstrap, render
from xds_server.config_sources import Protocol
from xds_server.upstreams import translate
from xds_server.upstreams.model import Gateway, Upstream
from xds_server.upstreams.translate import Dialect

ENVOYS = [dialect for dialect in Dialect if dialect.is_envoys]
OWN_WAYS = [Dialect.PER_TYPE, Dialect.PER_TYPE_DELTA, Dialect.REST]
PAYMENTS = Upstream(name="payments")
PUBLIC = Gateway(name="public", port=10000)

every_envoy = pytest.mark.parametrize("dialect", ENVOYS, ids=lambda dialect: dialect.value)
every_own_way = pytest.mark.parametrize("dialect", OWN_WAYS, ids=lambda dialect: dialect.value)


def eds_source(dialect: Dialect) -> Any:
    return translate.cluster(PAYMENTS, dialect).eds_cluster_config.eds_config


def manager(dialect: Dialect) -> Any:
    message = http_connection_manager_pb2.HttpConnectionManager()
    assert translate.listener(PUBLIC, dialect).filter_chains[0].filters[0].typed_config.Unpack(message)
    return message


def bootstrap_source(protocol: Protocol) -> Any:
    sources = yaml.safe_load(render(Bootstrap("n", protocol=protocol)))["dynamic_resources"]
    return json_format.ParseDict(sources["cds_config"], config_source_pb2.ConfigSource())


@pytest.mark.parametrize(
    ("protocol", "dialect"),
    [
        ("delta", Dialect.ADS),
        ("sotw", Dialect.ADS),
        ("per-type", Dialect.PER_TYPE_DELTA),
        ("rest", Dialect.REST),
    ],
    ids=lambda value: getattr(value, "value", value),
)
def test_endpoints_and_routes_come_as_the_bootstrap_has_clusters_come(protocol: Protocol, dialect: Dialect) -> None:
    assert eds_source(dialect) == manager(dialect).rds.config_source == bootstrap_source(protocol)


def test_state_of_the_world_streams_differ_in_that_alone() -> None:
    source = eds_source(Dialect.PER_TYPE)
    assert source.api_config_source.api_type == config_source_pb2.ApiConfigSource.GRPC
    source.api_config_source.api_type = config_source_pb2.ApiConfigSource.DELTA_GRPC
    assert source == eds_source(Dialect.PER_TYPE_DELTA)


@every_own_way
def test_they_lead_to_the_control_planes_cluster(dialect: Dialect) -> None:
    api = eds_source(dialect).api_config_source
    names = [*api.cluster_names, *(service.envoy_grpc.cluster_name for service in api.grpc_services)]
    assert names == ["xds-server.internal"]


def test_aggregated_is_what_is_meant_unless_said_otherwise() -> None:
    assert translate.cluster(PAYMENTS) == translate.cluster(PAYMENTS, Dialect.ADS)
    assert translate.listener(PUBLIC) == translate.listener(PUBLIC, Dialect.ADS)
    assert eds_source(Dialect.ADS).HasField("ads")


@every_envoy
def test_nothing_but_the_source_depends_on_the_dialect(dialect: Dialect) -> None:
    fields = {"name": "u", "envoy": {"connect_timeout": "9s"}, "health_checks": {"active": {}}}
    upstream = Upstream.model_validate(fields)
    here, there = translate.cluster(upstream, dialect), translate.cluster(upstream)
    assert here.connect_timeout.seconds == 9
    for message in (here, there):
        message.eds_cluster_config.ClearField("eds_config")
    assert here == there
    mine, ours = manager(dialect), manager(Dialect.ADS)
    for message in (mine, ours):
        message.rds.ClearField("config_source")
    assert mine == ours


@every_envoy
def test_what_refers_to_nothing_is_the_same_for_all(dialect: Dialect) -> None:
    names = Upstream.model_validate(
        {"name": "u", "resolve": "envoy", "targets": [{"host": "db.example", "port": 5432}]}
    )
    assert translate.cluster(names, dialect) == translate.cluster(names)
    tcp = Gateway(name="database", port=5432, upstream="u")
    assert translate.listener(tcp, dialect) == translate.listener(tcp)


def test_an_assignment_goes_with_the_cluster_of_its_dialect() -> None:
    versions = set()
    bodies = set()
    for dialect in ENVOYS:
        cluster = translate.cluster_resource(PAYMENTS, dialect)
        assignment = translate.endpoints_resource(PAYMENTS, {}, cluster)
        assert assignment is not None
        versions.add(assignment.version)
        bodies.add(assignment.body)
    assert len(versions) == len(ENVOYS)
    assert len(bodies) == 1


def test_a_source_that_is_changed_changes_no_other() -> None:
    Dialect.REST.config_source.Clear()
    assert Dialect.REST.config_source.HasField("api_config_source")
