"""Passages that were shown to matter: by texts that were tried with and without them, and by nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from pytest_promptopt.records import FlakyCase
from pytest_promptopt.reports.html_passages import passages_data
from pytest_promptopt.reports.passage_evidence import (
    PassageEvidence,
    PassageVerdict,
    PromptPassages,
    left_out,
    passage_evidence,
    passage_sentence,
)
from pytest_promptopt.reports.tried_texts import TriedTexts
from tests.reported_session import RUN
from tests.unit.test_candidate_matrix import P, case, event

CASES = [f"c{number}" for number in range(20)]
KNOWN = [case(name) for name in CASES]
BEFORE = "Route it.\nTicket: {{ ticket }}"


def rates(passing: int) -> dict[str, float]:
    """So many cases pass, the first ones."""
    return {name: float(number < passing) for number, name in enumerate(CASES)}


def made(id: str, text: str, **more: Any) -> Any:
    return event("candidate", id=id, prompts=[P], texts={P: text}, **more)


def ran(id: str, found: Mapping[str, float | None]) -> Any:
    return event("results", candidate=id, rates=found)


def evidence(
    after: str, *events: Any, flaky: tuple[FlakyCase, ...] = (), before: str = BEFORE
) -> PromptPassages:
    prompt = replace(RUN.prompts[0], prompt=P, before=before, after=after, flaky=flaky)
    tried = TriedTexts.of([event("start", cases=[*KNOWN, case("held", "heldout")]), *events])
    return passage_evidence(prompt, tried, 0.05)


ONE = f"Be brief.\n{BEFORE}"
TWO = f"Be brief.\nNever guess.\n{BEFORE}"


def test_a_passage_that_many_cases_need_is_shown_and_one_that_none_needs_is_not() -> None:
    found = evidence(
        TWO,
        ran("0", rates(3) | {"held": 1.0}),
        made("1.1", ONE),
        ran("1.1", rates(15)),
        made("2.1", TWO),
        ran("2.1", rates(15) | {"held": 0.0}),
    )
    assert [(each.passages, each.verdict) for each in found.evidence] == [
        (("Be brief.",), PassageVerdict.MATTERS),
        (("Never guess.",), PassageVerdict.NO_DIFFERENCE),
        (("Be brief.", "Never guess."), PassageVerdict.MATTERS),
    ]
    first, second, _ = found.evidence
    assert (first.cases, first.needed, first.spoiled, first.every, first.new) == (20, 12, 0, True, True)
    assert (
        passage_sentence(first)
        == "matters: 12 of 20 cases pass only with it (39% to 78%), 0 only without (p = 0.0015)"
    )
    assert passage_sentence(second) == "no difference seen in 20 cases (at most 16% need it)"
    assert found.untried == 2


def test_few_changes_may_be_chance_and_a_passage_may_do_harm() -> None:
    few = evidence(ONE, ran("0", rates(3)), made("1.1", ONE), ran("1.1", rates(6)))
    assert [each.verdict for each in few.evidence] == [PassageVerdict.MAY_BE_CHANCE]
    harm = evidence(BEFORE, ran("0", rates(3)), made("1.1", BEFORE), ran("1.1", rates(15)), before=ONE)
    (each,) = harm.evidence
    assert (each.verdict, each.new, each.spoiled) == (PassageVerdict.HARMS, False, 12)
    assert passage_sentence(each).startswith(
        "does harm: 12 of 20 cases pass only without it (39% to 78%), 0 only with ("
    )


def test_the_more_is_looked_at_the_more_evidence_each_passage_needs() -> None:
    def verdicts(count: int) -> list[PassageVerdict]:
        events = [ran("0", rates(0))]
        for number in range(count):
            text = f"Rule {number}.\n{BEFORE}"
            events += [made(f"1.{number}", text), ran(f"1.{number}", rates(6))]
        after = "\n".join([*(f"Rule {number}." for number in range(count)), BEFORE])
        return [each.verdict for each in evidence(after, *events).evidence]

    assert verdicts(1) == [PassageVerdict.MATTERS]  # 6 of 6: p = 0.031
    assert verdicts(2) == 2 * [PassageVerdict.MAY_BE_CHANCE]


def test_where_answers_vary_cases_that_the_search_has_chosen_show_nothing() -> None:
    """They were chosen since they fail: under any other text some of them pass by luck."""
    some = {name: rate for name, rate in rates(15).items() if name in CASES[:18]}
    chosen = ran("0", rates(3)), made("1.1", ONE), ran("1.1", some)
    whole = ran("0", rates(3)), made("1.1", ONE), ran("1.1", rates(15))
    flaky = (FlakyCase("c4", 1, 2),)
    assert [each.verdict for each in evidence(ONE, *chosen).evidence] == [PassageVerdict.MATTERS]
    assert [each.verdict for each in evidence(ONE, *chosen, flaky=flaky).evidence] == [
        PassageVerdict.MAY_BE_CHANCE
    ]
    (each,) = evidence(ONE, *whole, flaky=flaky).evidence
    assert (each.verdict, each.cases, each.needed) == (PassageVerdict.MATTERS, 19, 11), (
        "the flaky one is left out"
    )


def test_texts_that_differ_by_anything_else_tell_nothing() -> None:
    other = f"Be brief.\n{BEFORE.replace('Route', 'Send')}"
    assert evidence(ONE, ran("0", rates(3)), made("1.1", other), ran("1.1", rates(15))).evidence == ()
    beside = made("1.1", ONE, beside={"other.md": "Another text of the pipeline."})
    pipeline = replace(RUN.prompts[0], prompt=P, before=BEFORE, after=ONE, pipeline=(P, "other.md"), flaky=())
    events = [event("start", cases=KNOWN), ran("0", rates(3)), beside, ran("1.1", rates(15))]
    assert passage_evidence(pipeline, TriedTexts.of(events), 0.05).evidence == ()
    events.append(
        event(
            "candidate", id="2.1", prompts=["other.md"], texts={"other.md": "Another text of the pipeline."}
        )
    )
    events.append(ran("2.1", rates(3)))
    assert len(passage_evidence(pipeline, TriedTexts.of(events), 0.05).evidence) == 1
    assert evidence(BEFORE, ran("0", rates(3))).evidence == ()
    assert evidence(ONE).untried == 3


def test_a_passage_left_out_of_failing_cases_is_told_apart() -> None:
    tries = [{"prompt": P, "without": ["Be brief."], "rates": {"c1": 0.0, "c2": 1.0, "c3": None}}]
    cut = event("ablation", candidate="1.1", failing=["c1", "c2"], passage=None, tries=tries)
    (each,) = evidence(ONE, made("1.1", ONE), cut, cut).evidence
    assert (each.failing, each.mended, each.cases) == (2, 1, 0)
    assert passage_sentence(each) == "may be chance: of 2 cases that fail with it 1 pass without"
    tries[0]["rates"] = {"c1": 0.0}
    (each,) = evidence(ONE, made("1.1", ONE), cut).evidence
    assert passage_sentence(each) == "no difference seen: of 1 case that fail with it 0 pass without"
    old = event("ablation", candidate="1.1", failing=["c1"], passage=None)
    assert evidence(ONE, made("1.1", ONE), old).evidence == (), "of an earlier version of the journal"


@pytest.mark.parametrize(
    ("whole", "part", "found"),
    [
        ("abc", "ac", ("b",)),
        ("abc", "abc", ()),
        ("abc", "ca", None),
        ("abc", "abcd", None),
        ("aba", "a", ("b", "a")),
    ],
)
def test_what_a_text_lacks_of_another_one(whole: str, part: str, found: tuple[str, ...] | None) -> None:
    assert left_out(tuple(whole), tuple(part)) == found


def test_marks_stand_where_the_page_counts_them() -> None:
    single = PassageEvidence(("Be brief.",), True, PassageVerdict.MATTERS, cases=9, needed=9, p=0.004)
    together = PassageEvidence(
        ("Be brief.", "Say it."), True, PassageVerdict.MATTERS, cases=9, needed=9, p=0.004
    )
    found = PromptPassages((single, together), 1)
    data = passages_data(found, "Route.", "🙂 Hi. Be brief.\n  Say it. Route.")
    assert data is not None
    assert data["new"] == {1: [(7, 16, 0)], 2: [(2, 9, 1)]}
    assert data["old"] == {}
    assert [each["kind"] for each in data["told"]] == ["matters", "matters"]
    assert data["untried"] == "1 passage of the new text: not tried"
    assert passages_data(PromptPassages(), "a", "b") is None
