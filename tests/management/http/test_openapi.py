"""The API as it describes itself: requests made up from the description are answered as it says, and never by a traceback."""

import httpx
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from xds_server.testing import XdsServerProcess

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def test_answers_to_made_up_requests_are_as_described() -> None:
    with XdsServerProcess() as server:
        described = schemathesis.openapi.from_url(f"http://{server.http_address}/openapi.json")
        found = [found.ok() for found in described.get_all_operations()]
        operations = [each for each in found if each.path != "/v1/events"]  # its answers have no end: see test_events
        assert len(operations) >= 20
        for operation in operations:

            @given(case=operation.as_strategy())
            @settings(
                max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
            )
            def answered(case: schemathesis.Case) -> None:
                case.call_and_validate(checks=CHECKS, timeout=30)

            answered()
        assert "Traceback" not in server.log


def test_the_description_can_be_browsed_without_the_internet(api: httpx.Client) -> None:
    page = api.get("/docs")
    assert page.status_code == 200
    assert "/openapi.json" in page.text
    assert "https://" not in page.text
