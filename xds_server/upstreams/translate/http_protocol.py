"""What targets speak, and what a cluster itself says about requests: `HttpProtocolOptions`.

Timeout and retries are here as well as in our routes, so that a static listener that only names clusters honours them.
There, the time is that of one try: a route's timeout is that of all tries together.
"""

from typing import Any

from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from xds_server.upstreams.model import Upstream
from xds_server.upstreams.translate.keepalive import common_http, http2
from xds_server.upstreams.translate.messages import duration
from xds_server.upstreams.translate.outlier_detection import error_matcher
from xds_server.upstreams.translate.retries import retry_policy

HTTP_PROTOCOL_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
"""The key of these options in `Cluster.typed_extension_protocol_options`."""


def http_protocol_options(upstream: Upstream) -> Any:
    """`HttpProtocolOptions` for an upstream that speaks HTTP. `retry_policy` works from Envoy 1.37; 1.36 ignores it."""
    options = http_protocol_options_pb2.HttpProtocolOptions()
    if upstream.protocol == "http2":
        options.explicit_http_config.http2_protocol_options.CopyFrom(http2(upstream.keepalive))
    elif upstream.protocol == "auto":
        options.auto_config.http_protocol_options.SetInParent()
        options.auto_config.http2_protocol_options.CopyFrom(http2(upstream.keepalive))
    else:
        options.explicit_http_config.http_protocol_options.SetInParent()
    common = common_http(upstream.keepalive)
    if common.ListFields():
        options.common_http_protocol_options.CopyFrom(common)
    if upstream.timeout:
        options.common_http_protocol_options.max_stream_duration.CopyFrom(duration(upstream.timeout))
    if upstream.retries is not None:
        options.retry_policy.CopyFrom(retry_policy(upstream.retries))
    if (errors := error_matcher(upstream.health_checks.passive)) is not None:
        options.outlier_detection.error_matcher.CopyFrom(errors)
    return options
