"""Which text passed which case: the hardest cases first, without those that every text passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_promptopt.journal import Event
from pytest_promptopt.reports.candidate_matrix import MAX_COLUMNS, MAX_ROWS, matrix_data
from pytest_promptopt.reports.tried_texts import TriedTexts

P = "prompts/route.md"


def event(name: str, **data: Any) -> Event:
    return Event(1, "run", name, "2026-01-01T00:00:00+00:00", 1, data)


def case(name: str, split: str = "train", prompt: str = P, **more: Any) -> dict[str, Any]:
    return {"id": name, "prompts": [prompt], "split": split, **more}


def journal(cases: list[dict[str, Any]], **rates: Mapping[str, float | None]) -> TriedTexts:
    """:param rates: ``c0`` is the original, ``c1_1`` the candidate 1.1."""
    results = [
        event("results", candidate=name[1:].replace("_", "."), rates=found) for name, found in rates.items()
    ]
    return TriedTexts.of([event("start", cases=cases), *results])


def test_each_case_that_not_every_text_passes_is_a_row_the_hardest_first() -> None:
    tried = journal(
        [case("easy"), case("fixed"), case("hard", "validation"), case("mute")],
        c0={"easy": 1.0, "fixed": 0.0, "hard": 0.0, "mute": None},
        c1_1={"easy": 1.0, "fixed": 1.0, "hard": 0.5},
    )
    assert matrix_data(P, ["1.1", "1.2"], tried) == {
        "columns": ["0", "1.1"],
        "rows": [["hard", "fh"], ["mute", "e."], ["fixed", "fp"]],
        "passed": 1,
        "more": [0, 0],
    }


def test_held_out_cases_and_those_of_other_prompts_are_not_in_it() -> None:
    cases = [
        case("seen"),
        case("held", "heldout"),
        case("other", prompt="b.md"),
        case("old", reference="seen"),
    ]
    tried = journal(cases, c0=dict.fromkeys(("seen", "held", "other", "old"), 0.0))
    found = matrix_data(P, [], tried)
    assert found is not None
    assert found["rows"] == [["seen", "f"]]


def test_without_a_run_there_is_none() -> None:
    assert matrix_data(P, ["1.1"], journal([case("a")])) is None
    assert matrix_data(P, ["1.1"], TriedTexts()) is None


def test_what_is_left_out_is_counted() -> None:
    names = [str(number) for number in range(MAX_ROWS + 2)]
    candidates = [f"1.{number}" for number in range(MAX_COLUMNS + 3)]
    tried = journal(
        [case(name) for name in names],
        c0=dict.fromkeys(names, 0.0),
        **{f"c{each.replace('.', '_')}": {names[0]: 0.0} for each in candidates},
    )
    found = matrix_data(P, candidates, tried)
    assert found is not None
    assert (len(found["rows"]), len(found["columns"])) == (MAX_ROWS, MAX_COLUMNS)
    assert {len(cells) for _, cells in found["rows"]} == {MAX_COLUMNS}
    assert found["more"] == [2, 4]
