"""The page of features names the tests that there are."""

import features
import pytest
from features import Proof


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest) -> list[Proof]:
    """Of the whole suite, also when only a part of it runs."""
    return request.config.stash.get(features.COLLECTED, None) or features.collect()


def test_every_feature_has_a_section_that_there_is(found: list[Proof]) -> None:
    assert features.problems(found) == []
    assert {proof.section for proof in found} == {*features.SECTIONS}


def test_the_page_is_not_out_of_date(found: list[Proof]) -> None:
    written = (features.ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    assert written == features.page(found), "docs/features.md is out of date: run `make docs`"


def test_a_section_that_there_is_not_is_told() -> None:
    assert features.problems([Proof("Nonsense", "it works", "tests/x.py", "test_x")]) == [
        "tests/x.py: test_x: there is no section 'Nonsense'"
    ]
