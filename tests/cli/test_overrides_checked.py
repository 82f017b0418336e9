"""What compiling finds wrong under `envoy:` is told like every other mistake: its own line and field, all at once."""

from pathlib import Path

import pytest

from xds_server.delivery import compiled
from xds_server.delivery.checking import check_files
from xds_server.upstreams.model import Upstream
from xds_server.xds.validation import Violation


def told(tmp_path: Path, text: str, name: str = "a.yaml") -> list[str]:
    (tmp_path / name).write_text(text)
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in check_files([tmp_path / name]).problems]


def test_an_override_has_the_line_and_field_of_its_own(tmp_path: Path) -> None:
    text = """\
upstreams:
- name: a
- name: b
  envoy:
    outlier_detection:
      interval: 5s
      intervall: 5s
    connectTimeout: 0s
    health_checks:
    - timeout: 1s
      interval: 1s
      healthy_threshold: 1
      unhealthy_threshold: 1
      http_health_check:
        path: ""
- name: c
  envoy:
    connectTimeout: 0s
    health_checks:
    - {timeout: 1s, interval: 1s, healthy_threshold: 1, unhealthy_threshold: 1, tcp_health_check: {}}
    - timeout: 1s
      interval: 1s
      healthy_threshold: 1
      unhealthy_threshold: 1
      http_health_check:
        path: ""
    common_lb_config:
      healthy_panic_threshold: {value: 30}
"""
    (first, second) = told(tmp_path, text)
    assert first == "a.yaml:7: upstreams[1].envoy.outlier_detection.intervall: " + first.partition("intervall: ")[2]
    assert "did you mean 'interval'?" in first
    assert second.startswith(
        "a.yaml:28: upstreams[2].envoy.common_lb_config.healthy_panic_threshold: 'healthy_panic_threshold' cannot be"
    )
    mended = text.replace("      intervall: 5s\n", "").replace("{value: 30}", "{value: 0}")
    assert [line.partition(": Envoy would refuse the Cluster")[0] for line in told(tmp_path, mended)] == [
        "a.yaml:7: upstreams[1].envoy.connectTimeout",
        "a.yaml:14: upstreams[1].envoy.health_checks[0].http_health_check.path",
        "a.yaml:17: upstreams[2].envoy.connectTimeout",
        "a.yaml:25: upstreams[2].envoy.health_checks[1].http_health_check.path",
    ]


def test_json_has_lines_too(tmp_path: Path) -> None:
    text = '{"upstreams": [{"name": "a",\n "envoy": {"alt_stat_name": "x",\n  "connect_timeout": "0s"}}]}'
    (line,) = told(tmp_path, text, "a.json")
    assert line.startswith("a.json:3: upstreams[0].envoy.connect_timeout: Envoy would refuse the Cluster: ")


def test_inside_a_map_and_a_packed_message(tmp_path: Path) -> None:
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    text = f"""\
upstreams:
- name: a
  envoy:
    typed_extension_protocol_options:
      {name}:
        "@type": type.googleapis.com/{name}
        common_http_protocol_options:
          max_requests_per_connection: 5
        explicit_http_config:
          http2_protocol_options:
            max_concurrent_streams: 0
"""
    (line,) = told(tmp_path, text)
    assert line.startswith("a.yaml:11: upstreams[0].envoy.typed_extension_protocol_options.envoy.extensions.")


def test_they_are_told_together_with_all_other_mistakes(tmp_path: Path) -> None:
    text = """\
upstreams:
- name: A
  timeout: 5
  targets: [{host: a}]
  envoy: {colour: red, name: b}
- name: b
  resolv: envoy
  protocol: htp
  targets: [{host: a.example, port: 1}]
  envoy: {http2_protocol_options: {}, connect_timeout: 0s}
- name: c
  resolve: envoy
  targets: [{host: a.example, port: 1}]
  envoy:
    dns_refresh_rate: 5s
"""
    assert [line.partition(": ")[0] + " " + line.split(": ")[1] for line in told(tmp_path, text)] == [
        "a.yaml:2 upstreams[0].name",
        "a.yaml:3 upstreams[0].timeout",
        "a.yaml:4 upstreams[0].targets[0].port",
        "a.yaml:5 upstreams[0].envoy.colour",
        "a.yaml:5 upstreams[0].envoy.name",
        "a.yaml:7 upstreams[1].resolv",
        "a.yaml:8 upstreams[1].protocol",
        # Not http2_protocol_options, which stands for itself should the protocol be tcp.
        "a.yaml:15 upstreams[2].envoy.dns_refresh_rate",
    ]


def refuse_everything(message: object) -> list[Violation]:
    return [Violation("routes[0].route", "must be set")]


def test_what_envoy_would_refuse_without_an_override_is_told_of_the_definition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "check", refuse_everything)
    text = "upstreams:\n- name: a\n- name: b\n  envoy: {alt_stat_name: x}\n- {name: c, timeout: 5}\n"
    words = "Envoy would refuse the VirtualHost: routes[0].route must be set"
    assert told(tmp_path, text) == [
        f"a.yaml:2: upstreams[0]: {words}",
        f"a.yaml:3: upstreams[1]: {words}",
        "a.yaml:5: upstreams[2].timeout: a duration needs its unit: write 5s or 5ms",
    ]
    with pytest.raises(compiled.NotServableError, match=r"^Envoy would refuse the VirtualHost"):
        compiled.compile_upstream(Upstream(name="a"), {})
