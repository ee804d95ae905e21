"""Breaking the instructions of a prompt: which are found, how they are broken, when it counts as noticed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.mutation.breaking import broken_texts
from pytest_promptopt.mutation.evidence import Again, answers_needed, chance_of
from pytest_promptopt.mutation.findings import Finding, MutationResult, Notice, PromptFindings
from pytest_promptopt.mutation.instructions import Instruction, instructions_of
from pytest_promptopt.mutation.mutating import Mutating, Sample
from pytest_promptopt.reports.mutation_report import mutation_blocks, mutation_lines, said
from pytest_promptopt.settings import Breaking
from tests.mutation_world import Planted

# ------------------------------------------------------------------------------------------- instructions


def found(prose: str) -> list[str]:
    return [each.text for each in instructions_of(prose)]


@pytest.mark.parametrize(
    ("prose", "instructions"),
    [
        ("You route tickets. Be brief!\n\nTicket: {{ t }}", ["You route tickets.", "Be brief!"]),
        ("1. Say a.\n2. Say b. And c.", ["1. Say a.", "2. Say b.", "And c."]),
        (
            "Reply with the name of the\nqueue only. Nothing else.",
            ["Reply with the name of the\nqueue only.", "Nothing else."],
        ),
        (
            "- Keep it short,\n  and kind.\n- Never guess.",
            ["- Keep it short,\n  and kind.", "- Never guess."],
        ),
        ("Use short forms, e.g. VAT or No. 5. Stop.", ["Use short forms, e.g. VAT or No. 5.", "Stop."]),
        ("请用中文回答。不要解释！", ["请用中文回答。", "不要解释！"]),
        ("# Rules\nThe queues are:\n- billing: money", ["- billing: money"]),
        ("Be kind.\n```\nDo not read this. Or that.\n```\nBe brief.", ["Be kind.", "Be brief."]),
        (
            "Be kind.\n<example>Say hello. Wave.</example>\nExample: say hi.\nInput: a\nOutput: b",
            ["Be kind."],
        ),
        ("A. Answer in French.\nB. Cite.\nFor example, say oui.", ["A. Answer in French.", "B. Cite."]),
        ("<report>\nBe kind.\n</report>", ["Be kind."]),
        ("user:\nBe kind.\nassistant:\nYes.", ["Be kind.", "Yes."]),
        ("---\n!!!\n{{ a }} and {% if b %}never{% endif %}.", []),
        ("", []),
    ],
)
def test_sentences_and_items_are_instructions_and_what_is_shown_or_filled_in_is_none(
    prose: str, instructions: list[str]
) -> None:
    assert found(prose) == instructions


def test_each_stands_where_it_says() -> None:
    prose = "Be kind.\n\n  - Be brief.\n  - Be\n    exact. Stop.\nTicket: {{ t }}"
    for each in instructions_of(prose):
        assert prose[each.start : each.end] == each.text
        assert each.text.split("\n")[0] in prose.split("\n")[each.line - 1]
        assert each.text not in each.without
    assert [each.line for each in instructions_of(prose)] == [1, 3, 4, 5]
    assert [each.without for each in instructions_of(prose)[1:]] == [
        "Be kind.\n\n  - Be\n    exact. Stop.\nTicket: {{ t }}",
        "Be kind.\n\n  - Be brief.\n  - Stop.\nTicket: {{ t }}",
        "Be kind.\n\n  - Be brief.\n  - Be\n    exact.\nTicket: {{ t }}",
    ]
    assert instructions_of("Be kind. Stop.")[1].without == "Be kind."
    assert instructions_of("Be kind.")[0].without == ""


@given(st.text(alphabet="Ab .!\n-1{}#:", max_size=60))
def test_whatever_stands_there_nothing_but_the_instruction_goes(prose: str) -> None:
    for each in instructions_of(prose):
        assert prose[each.start : each.end] == each.text
        rest = (prose[: each.start] + prose[each.end :]).split()
        kept = each.without.split()
        assert kept == rest or len(kept) == len(rest) + 1, "a marker stays for what is left of an item"


# ----------------------------------------------------------------------------------------------- breaking


@pytest.mark.parametrize(
    ("text", "weaker", "opposite"),
    [
        ("Never guess.", "Rarely guess.", "Always guess."),
        ("You must always cite.", "You may usually cite.", "You must never cite."),
        (
            "Do not explain; answer with one word only.",
            "Try not to explain; answer with one word mainly.",
            "Always explain; answer with one word only.",
        ),
        ("It must not be longer.", "It should rather not be longer.", "It must be longer."),
        ("Use at most 20 words.", "Use about 20 words.", "Use more than 20 words."),
        ("Be kind.", None, None),
        ("Whatever the mustard.", None, None),
    ],
)
def test_words_that_bind_are_weakened_or_turned_round(
    text: str, weaker: str | None, opposite: str | None
) -> None:
    prose = f"First.\n{text}"
    each = Instruction(text, 2, 7, len(prose), "First.")
    got = dict(broken_texts(prose, each, (Breaking.WEAKEN, Breaking.NEGATE)))
    expected = {Breaking.WEAKEN: weaker, Breaking.NEGATE: opposite}
    assert got == {way: f"First.\n{text}" for way, text in expected.items() if text is not None}


# ----------------------------------------------------------------------------------------------- evidence


def test_the_chance_is_that_of_drawing_by_lot() -> None:
    assert chance_of([Again(2, 2, 8, 0)]) == pytest.approx(1 / math.comb(10, 2))
    assert chance_of([Again(1, 1, 6, 0), Again(1, 1, 6, 0)]) == pytest.approx(1 / 49)
    assert chance_of([Again(2, 2, 8, 8)]) == 1.0, "it fails as often with the prompt as it is"
    assert chance_of([Again(2, 0, 8, 0)]) == 1.0
    assert chance_of([]) == 1.0
    assert chance_of([Again(2, 2, 8, 1)]) == pytest.approx(8 / math.comb(10, 3))


@given(st.integers(1, 12), st.sampled_from([0.01, 0.015, 0.02, 0.05]))
def test_what_is_planned_shows_it_if_all_cases_notice(cases: int, error: float) -> None:
    broken, whole = answers_needed(cases, error)
    assert chance_of([Again(broken, broken, whole, 0)] * cases) <= error + 1e-9


# ----------------------------------------------------------------------------------------------- the search


def verdicts(found: list[Finding], numbers: range) -> set[Notice]:
    return {found[number].verdict for number in numbers}


@pytest.mark.parametrize(("cases", "per"), [(40, 1), (40, 2), (12, 3), (6, 1), (100, 30)])
def test_of_twenty_planted_instructions_the_untested_ones_are_named(cases: int, per: int) -> None:
    world = Planted(20, cases, per)
    found = world.findings()
    assert verdicts(found, world.tested) == {Notice.NOTICED}
    assert verdicts(found, range(1, 20, 2)) == {Notice.UNNOTICED}
    assert world.runs_per_case <= 2


def test_where_answers_vary_luck_is_not_taken_for_notice() -> None:
    """Each of 40 cases flips one time in twenty, so about two fail under any text."""
    wrong = []
    for seed in range(10):
        world = Planted(20, 40, 3, flip=0.05, seed=seed)
        found = world.findings()
        wrong += [found[n].verdict for n in world.tested if found[n].verdict is not Notice.NOTICED]
        wrong += [found[n].verdict for n in range(1, 20, 2) if found[n].verdict is not Notice.UNNOTICED]
        assert world.runs_per_case <= 2
    assert len(wrong) <= 5


def test_an_instruction_that_all_need_is_settled_by_the_first_cases() -> None:
    world = Planted(1, 200, 200)
    (found,) = world.findings()
    assert (found.verdict, found.run, found.failed) == (Notice.NOTICED, 8, 8)
    assert world.runs <= 200 + 8 + 8 + 8


def test_known_samples_are_asked_once_though_several_instructions_need_them() -> None:
    world = Planted(20, 10, 5)
    world.findings()
    asked = [sample for of_one in world.asked for sample in of_one]
    assert len(asked) == len(set(asked))


def test_other_ways_are_tried_where_leaving_it_out_is_not_noticed() -> None:
    prose = "Never guess.\nBe kind.\nText: {{ text }}"
    names = [f"c{n}" for n in range(10)]

    def run(samples: object) -> dict[Sample, bool | None]:
        return {s: s.text is not None and "Always guess" in s.text for s in samples}  # type: ignore[attr-defined]

    world = Planted()
    world.prose = prose
    targets = world.targets(Breaking.DELETE, Breaking.WEAKEN, Breaking.NEGATE)
    one, other = Mutating(run, names, alpha=0.05, seed=0).findings(targets)
    assert (one.verdict, one.way, one.ways) == (Notice.NOTICED, Breaking.NEGATE, tuple(Breaking))
    assert (other.verdict, other.ways) == (Notice.UNNOTICED, (Breaking.DELETE,)), (
        "no word of it can be changed"
    )
    told = "noticed by 8 of 8 cases (68% to 100%) when it is turned round, not when it is deleted or weakened"
    assert said(one) == told


def test_a_case_without_a_verdict_counts_for_nothing() -> None:
    world = Planted(2, 10, 5)
    (first, _) = world.targets()

    def run(samples: object) -> dict[Sample, bool | None]:
        return {sample: None for sample in samples}  # type: ignore[attr-defined]

    (found,) = Mutating(run, world.names, alpha=0.05, seed=0).findings([first])
    assert (found.verdict, found.why) == (Notice.NOT_TRIED, "no case could be run without it")
    assert list(Mutating(run, [], alpha=0.05, seed=0).findings([first])) == []


# ----------------------------------------------------------------------------------------------- reports

FOUND = PromptFindings(
    "app.py::PROMPT",
    cases=30,
    usable=24,
    failing=5,
    unanswered=1,
    findings=(
        Finding("Be kind.", 4, Notice.NOTICED, Breaking.DELETE, (Breaking.DELETE,), run=24, failed=9),
        Finding("Be\nbrief.", 7, Notice.UNNOTICED, Breaking.DELETE, (Breaking.DELETE,), run=24),
        Finding("A | b.", 8, Notice.CANNOT_TELL, Breaking.DELETE, (Breaking.DELETE,), 24, 1, 1, 1, 0.066),
        Finding("Stop.", 9, Notice.NOT_TRIED, why="no calls were left"),
    ),
    left=1,
)


def test_what_is_unguarded_is_said_first() -> None:
    result = MutationResult((FOUND,), 100, 1.25, "the ceiling")
    assert [line.text for line in mutation_lines(result, width=60)] == [
        "app.py::PROMPT: no test notices 1 of 3 instructions, 1 cannot be told",
        "  app.py:7: no test notices it (0 of 24; at most 12%)",
        "      Be brief.",
        "  app.py:8: cannot tell: 1 of 24 cases failed, 1 of 1 asked again failed mostly (p = 0.066)",
        "      A | b.",
        "  app.py:4: noticed by 9 of 24 cases (21% to 57%)",
        "      Be kind.",
        "  app.py:9: not tried: no calls were left",
        "      Stop.",
        "  5 cases of 30 failed with the prompt as it is: such a case cannot notice anything",
        "  1 case of 30 had no verdict",
        "  1 instruction must stay as it is, and was not broken",
        "it ended early: the ceiling",
        "100 runs of cases, 1.25 for each case and instruction",
    ]
    page = "\n".join(mutation_blocks(result))
    assert "| 7 | `Be brief.` | no test notices it" in page
    assert "A \\| b." in page or "A | b." not in page


def test_without_an_instruction_that_is_said() -> None:
    nothing = PromptFindings("p.md", 3, 3, 0, 0, ())
    assert [line.text for line in mutation_lines(MutationResult((nothing,)))] == [
        "p.md: no instruction was found"
    ]
