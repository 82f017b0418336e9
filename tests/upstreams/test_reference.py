import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from xds_server.upstreams import model, reference
from xds_server.upstreams.model import Definition, Document, format_duration
from xds_server.upstreams.schema import json_schema, schema_text

MODELS = [
    value
    for value in vars(model).values()
    if isinstance(value, type) and issubclass(value, Definition) and value is not Definition
]
REQUIRED = {"name": "a", "host": "a", "port": 1, "window": "1s", "balance": "nearest", "weight": 1}
FIELDS = [(each, name) for each in MODELS for name in each.model_fields]


@pytest.mark.parametrize(
    ("name", "text"), [("definitions.md", reference.markdown()), ("definitions.schema.json", schema_text())]
)
def test_the_files_in_docs_are_up_to_date(root: Path, name: str, text: str) -> None:
    written = (root / "docs" / name).read_text(encoding="utf-8")
    assert written == text, "run: python -m xds_server.upstreams.reference docs"


def test_both_files_are_written(tmp_path: Path) -> None:
    assert reference.main([str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["definitions.md", "definitions.schema.json"]
    assert reference.main([]) == 2


def properties(each: type[BaseModel]) -> dict[str, Any]:
    schema = json_schema()
    found: dict[str, Any] = (schema if each is Document else schema["$defs"][each.__name__])["properties"]
    return found


@pytest.mark.parametrize(("each", "name"), FIELDS)
def test_every_field_is_described_with_its_default(each: type[BaseModel], name: str) -> None:
    field, written = each.model_fields[name], properties(each)[name]
    text = " ".join(written["description"].split())
    assert f"| `{name}` | " in reference.markdown()
    if field.is_required():
        assert "Required." in text
        return
    said = re.search(r"Default: (.+?)\.(?= |$)", text)
    default = written.get("default")
    if said and isinstance(default, str | int | float) and not isinstance(default, bool) and default != "":
        assert said[1].startswith(str(default))
    if said and isinstance(default, bool):
        assert said[1].startswith(str(default).lower())


@pytest.mark.parametrize("each", MODELS)
def test_the_schemas_defaults_are_what_the_model_takes(each: type[BaseModel]) -> None:
    required = {name: REQUIRED[name] for name, field in each.model_fields.items() if field.is_required()}
    defaults = {name: written["default"] for name, written in properties(each).items() if "default" in written}
    assert each.model_validate({**required, **defaults}) == each.model_validate(required)


def test_the_schema_describes_what_users_write() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "xds-server definitions"
    upstream = schema["$defs"]["Upstream"]
    assert upstream["additionalProperties"] is False
    assert upstream["required"] == ["name"]
    assert upstream["properties"]["connect_timeout"]["default"] == "5s"
    assert upstream["properties"]["envoy"]["type"] == "object"
    assert upstream["properties"]["limits"]["default"] == {}
    assert json.loads(schema_text()) == schema


@pytest.mark.parametrize("text", ["5s", "250ms", "1.5m", "2h", "0s", "5", "s", "5 s", "-1s", "1h30m", ".5s"])
def test_the_schemas_pattern_of_durations_is_the_models(text: str) -> None:
    pattern = json_schema()["$defs"]["Upstream"]["properties"]["timeout"]["pattern"]
    try:
        duration = model.Upstream.model_validate({"name": "a", "timeout": text}).timeout
    except ValueError:
        assert not re.search(pattern, text)
    else:
        assert re.search(pattern, text)
        assert re.search(pattern, format_duration(duration))
