"""The JSON Schema of definition files, for editors: what users write, not what Python holds."""

import json
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from xds_server.upstreams.model import Document, format_duration


def json_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of one definition file. Contradictions between fields are beyond what it can say."""
    schema = Document.model_json_schema(schema_generator=_AsWritten)
    return {"$schema": _AsWritten.schema_dialect, **schema, "title": "xds-server definitions"}


def schema_text() -> str:
    """`json_schema` as text that is the same for the same model."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


class _AsWritten(GenerateJsonSchema):
    """Durations with their unit; parts that may be left out as ``{}``; no titles, which would only repeat field names."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return format_duration(dft)
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json", exclude_unset=True)
        return super().encode_default(dft)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        written = super().default_schema(schema)
        if written.get("default", ...) is None:
            del written["default"]
        return written

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """None is how Python says that a field is left out; in a file, null is an error."""
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
