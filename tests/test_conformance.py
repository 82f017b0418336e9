"""The conformance page says what the suite has: every item its tests or a reason, and none that is out of date."""

import conformance
import pytest
from conformance import Shown, numbers


@pytest.fixture(scope="module")
def node_ids(request: pytest.FixtureRequest) -> list[str]:
    """Of the whole suite, also when only a part of it runs."""
    return request.config.stash.get(conformance.COLLECTED, None) or conformance.collect()


def test_every_item_has_a_test_or_a_reason(node_ids: list[str]) -> None:
    assert conformance.problems(node_ids) == []


def test_the_page_names_the_tests_that_there_are(node_ids: list[str]) -> None:
    page = (conformance.ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    written, now = conformance.rows_of(page), conformance.rows(node_ids)
    stale = sorted(item for item in written.keys() | now.keys() if written.get(item) != now.get(item))
    assert not stale, f"docs/conformance.md is out of date for {', '.join(stale)}: run `make docs`"


def test_the_page_is_made_of_outcomes_and_can_be_read_back() -> None:
    outcomes = {
        "tests/a.py::test_S1_x[sotw]": "passed",
        "tests/a.py::test_S1_x[delta]": "known gap: why",
        "tests/b.py::test_rows[S2_B1-some row]": "passed",
    }
    text = conformance.page(outcomes)
    assert "[a.py](../tests/a.py): `test_S1_x` | known gap: why; passed |" in text
    assert "[b.py](../tests/b.py): `test_rows[S2_B1-some row]` | passed |" in text
    assert conformance.rows_of(text) == conformance.rows(outcomes)
    assert [text.count(f"| item | {column} |") for column in ("what holds", "mistake that is not made")] == [5, 1]


@pytest.mark.parametrize(
    ("node_id", "expected"),
    [
        ("tests/x.py::test_S35_B9_names[a]", {"S35": "test_S35_B9_names", "B9": "test_S35_B9_names"}),
        ("tests/x.py::TestIt::test_D1_x", {"D1": "test_D1_x"}),
        ("tests/x.py::test_it[sotw-S47-x]", {"S47": "test_it[sotw-S47-x]"}),
        ("tests/x.py::test_it[S47_S48]", {"S47": "test_it[S47_S48]", "S48": "test_it[S47_S48]"}),
        ("tests/S1.py::test_it[V4_ONLY]", {}),
        ("tests/x.py::test_it_as_S4_says", {}),
        ("tests/x.py::test_S100_x", {}),
    ],
    ids=lambda value: "x",
)
def test_a_name_carries_its_numbers_in_front(node_id: str, expected: dict[str, str]) -> None:
    assert numbers(node_id) == {item: Shown(node_id.partition("::")[0], name) for item, name in expected.items()}


def test_what_is_wrong_with_the_list_is_told() -> None:
    everything = [f"tests/x.py::test_{item}_x" for item in conformance.load().lines]
    assert "S40 has a test by now, or two explanations: remove it from conformance_items.toml" in conformance.problems(
        everything
    )
    assert "S1 has neither a test nor a reason" in conformance.problems([])
    assert "S73 is not an item: test_S73_x" in conformance.problems(["tests/x.py::test_S73_x"])
