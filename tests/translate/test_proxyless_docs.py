"""docs/grpc-clients.md says of every field what gRPC clients do with it."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from xds_server.upstreams.model import HealthChecks, Limits, Target, Upstream
from xds_server.upstreams.model.traffic import HashKey, Retries


@pytest.mark.parametrize("model", [Upstream, Target, HealthChecks, Limits, HashKey, Retries], ids=lambda m: m.__name__)
def test_every_field_is_in_the_table(root: Path, model: type[BaseModel]) -> None:
    text = (root / "docs" / "grpc-clients.md").read_text(encoding="utf-8")
    rows = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    named = {part for words in re.findall(r"`([^`]+)`", rows) for part in re.split(r"[.\s:]+", words)}
    assert set(model.model_fields) - named == (
        set(Limits.model_fields) - {"max_requests"} if model is Limits else set()
    )
