"""The JSON Schema says no to what an editor can tell is wrong, and yes to what the model takes."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from xds_server.upstreams.documents import DefinitionFile, parse
from xds_server.upstreams.schema import json_schema, schema_text

SCHEMA = json_schema()
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
}
KEYWORDS: dict[str, Callable[[Any, Any], bool]] = {
    "$ref": lambda name, value: accepts(SCHEMA["$defs"][name.rpartition("/")[2]], value),
    "type": lambda name, value: isinstance(value, TYPES[name]) and not (name == "integer" and isinstance(value, bool)),
    "pattern": lambda pattern, value: bool(re.search(pattern, value)),
    "not": lambda inner, value: not accepts(inner, value),
    "const": lambda constant, value: bool(value == constant and type(value) is type(constant)),
    "enum": lambda known, value: value in known,
    "oneOf": lambda inner, value: sum(accepts(each, value) for each in inner) == 1,
    "items": lambda inner, value: all(accepts(inner, item) for item in value),
    "properties": lambda inner, value: all(accepts(inner[key], value[key]) for key in inner.keys() & value.keys()),
    "propertyNames": lambda inner, value: all(accepts(inner, key) for key in value),
    "required": lambda names, value: value.keys() >= set(names),
    "dependentRequired": lambda needs, value: all(
        value.keys() >= set(needs[key]) for key in needs.keys() & value.keys()
    ),
}


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """What a validator says, as far as `KEYWORDS` go; it stops at a wrong type."""
    ordered = sorted(schema.keys() & KEYWORDS.keys(), key=lambda keyword: keyword != "type")
    return all(KEYWORDS[keyword](schema[keyword], value) for keyword in ordered)


def both(**fields: Any) -> tuple[bool, bool]:
    """Whether the schema takes an upstream with these fields, and whether reading a file does."""
    document = {"upstreams": [{"name": "a", **fields}]}
    return accepts(SCHEMA, document), isinstance(parse(json.dumps(document).encode(), "f.json"), DefinitionFile)


def target(host: str) -> dict[str, Any]:
    return {"targets": [{"host": host, "port": 80}]}


@pytest.mark.parametrize(
    "fields",
    [
        target("a.example:80"),
        target("a:"),
        target("[::1]:80"),
        target("a b"),
        {"targets": [{"host": "a", "port": "SRV"}]},
        target(""),
        {"hostnames": ["*"]},
        {"hostnames": ["a.example:80"]},
        {"hostnames": ["a b"]},
        {"name": "xds-server.internal"},
        {"name": "A"},
        {"connect_timeout": "0s"},
        {"connect_timeout": "0.0m"},
        {"hash_on": [{}]},
        {"hash_on": [{"header": "a", "cookie": "b"}]},
        {"hash_on": [{"header": "a", "path": True}]},
        {"hash_on": [{"source_ip": False}]},
        {"hash_on": [{"header": "a", "ttl": "1s"}]},
        {"tls": {"cert_file": "/a"}},
        {"tls": {"key_file": "/a"}},
        {"envoy": {"load_assignment": {}}},
        {"envoy": {"loadAssignment": {}}},
        {"envoy": {"name": "b"}},
        {"tls": None},
        {"limits": {"max_connections": None}},
        {"on_all_unhealthy": None},
        {"health_checks": {"active": {"expected_statuses": ["200-99"]}}},
        {"health_checks": {"passive": {"error_statuses": ["429"]}}},
        {"health_checks": {"active": {"type": "tcp", "receive": ["hex:0"]}}},
    ],
)
def test_says_no(fields: dict[str, Any]) -> None:
    assert both(**fields) == (False, False)


@pytest.mark.parametrize(
    "fields",
    [
        target("::1"),
        target("[::1]"),
        target("10.0.0.1"),
        target("bücher.example"),
        target(" a "),
        {"targets": [{"host": "a", "port": "srv"}]},
        {"dns": {"family": "all", "min_ttl": "1s", "linger": "0s"}},
        {"hostnames": ["*.a.example", "B.example."]},
        {"name": "xds-server.internal.example"},
        {"connect_timeout": "0.5s"},
        {"timeout": "0s"},
        {"hash_on": [{"header": "a", "path": False}, {"cookie": "b", "ttl": "0s"}, {"source_ip": True}]},
        {"tls": {"cert_file": "/a", "key_file": "/b"}},
        {"envoy": {"outlier_detection": None, "alt_stat_name": "name"}},
        {"health_checks": {"active": {"expected_statuses": [200, "300-399"]}, "passive": {"error_statuses": [429]}}},
        {"health_checks": {"active": {"type": "tcp", "send": "hex", "receive": ["hex:0F", "220"]}}},
    ],
)
def test_says_yes(fields: dict[str, Any]) -> None:
    assert both(**fields) == (True, True)


def test_no_part_may_be_null() -> None:
    assert '"null"' not in schema_text()
