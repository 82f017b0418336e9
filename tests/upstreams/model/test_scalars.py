from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.upstreams.model import Target, Upstream, format_duration
from xds_server.upstreams.model.scalars import parse_duration, to_ascii
from xds_server.upstreams.model.upstream import ENVOY_FIELDS_REFUSED


@given(st.timedeltas(timedelta(0), timedelta(days=365)))
def test_durations_are_written_so_that_they_are_read_back(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("250ms", 0.25), ("1m", 60), ("1.5m", 90), ("2h", 7200), ("0s", 0), ("0.5ms", 0.0005)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 s", "5S", "1e3s", ".5s", "1h30m", "\u0665s", "9000h", "9" * 400 + "s", "0.0001ms"]
)
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration|longer than 365 days|shorter than a microsecond"):
        parse_duration(text)


@given(st.text())
def test_any_text_is_a_host_name_or_a_value_error(text: str) -> None:
    try:
        name = to_ascii(text)
    except ValueError:
        return
    assert name.isascii()
    assert to_ascii(name) == name


@pytest.mark.parametrize(
    ("host", "kept"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("Backend.Internal.", "backend.internal"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("_http._tcp.example", "_http._tcp.example"),
    ],
)
def test_hosts_of_targets(host: str, kept: str) -> None:
    target = Target(host=host, port=80)
    assert target.host == kept
    assert target.key == (f"[{kept}]:80" if ":" in kept else f"{kept}:80")


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("[::1]:80", "the port goes into the field 'port'"),
        ("a.example:80", "the port goes into the field 'port'"),
        ("10.0.0.1:80", "the port goes into the field 'port'"),
        ("[::1", "is not an IP address"),
        ("::1::2", "is not an IP address"),
        ("10.0.0.256", "neither an IP address nor a host name"),
        ("010.0.0.1", "neither an IP address nor a host name"),
        ("", "is not a host name"),
        ("a..b", "is not a host name"),
        ("-a", "is not a host name"),
        ("a" * 64, "is not a host name"),
        ("☃.example", "is not a host name"),
        ("http://a", "is not a"),
    ],
)
def test_what_is_not_a_host(host: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".*") as caught:
        Target(host=host, port=80)
    assert message in str(caught.value)


names = st.from_regex(r"[a-z0-9._-]{1,20}", fullmatch=True)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
targets = st.builds(
    Target,
    host=st.ip_addresses().map(str),
    port=st.integers(1, 65535),
    weight=st.integers(0, 1_000_000),
    priority=st.integers(0, 128),
    state=st.sampled_from(["enabled", "draining", "disabled", "unhealthy"]),
    description=st.text(max_size=20),
    labels=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
upstreams = st.builds(
    Upstream,
    name=names,
    algorithm=st.sampled_from(["weighted-round-robin", "least-connections", "ring-hash", "maglev"]),
    targets=st.lists(targets, max_size=4, unique_by=lambda target: target.key),
    timeout=st.just(timedelta(0)) | st.timedeltas(timedelta(milliseconds=1), timedelta(days=365)),
    envoy=st.dictionaries(
        st.text(st.characters(categories=["Ll"]), max_size=5).filter(lambda key: key not in ENVOY_FIELDS_REFUSED),
        json_values,
        max_size=3,
    ),
)


@given(upstreams)
def test_an_upstream_written_as_json_is_the_same_upstream(upstream: Upstream) -> None:
    assert Upstream.model_validate_json(upstream.model_dump_json()) == upstream
    assert Upstream.model_validate(upstream.model_dump(mode="json", exclude_defaults=True)) == upstream
