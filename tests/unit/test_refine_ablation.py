"""One sentence of a good candidate does harm: it is found by leaving one out at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.optimizer.candidates import Results
from pytest_promptopt.optimizer.protocols import Prompt, Trial
from pytest_promptopt.prompts.cutting import split_passages
from pytest_promptopt.records import Case, CaseResult, Outcome, Split, Status
from pytest_promptopt.strategies.refine.ablation import (
    CONTROLS,
    MAX_EXAMINED,
    MAX_PARTS,
    MAX_WITNESSES,
    ROUND,
    Cut,
    cut_each_passage,
    find_harmful_passage,
)
from tests.refine_world import FakePrompt

TEXT = st.text(alphabet="ab .!?。；」\n{}%#", max_size=60)


def cut_out(before: str, after: str) -> list[str]:
    return [cut.passage for cut in cut_each_passage("p", before, after)]


# ----------------------------------------------------------------------------- cuts


@given(TEXT)
def test_the_passages_joined_are_the_text(text: str) -> None:
    assert "".join(split_passages(text)) == text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Say a. Say b! Say c? d", ["Say a.", "Say b!", "Say c?", "d"]),
        ("- one\n- two\n\n\n- three\n", ["- one", "- two", "- three"]),
        (
            "请用中文回答。不要解释！输出标签；别的不要。",
            ["请用中文回答。", "不要解释！", "输出标签；", "别的不要。"],
        ),
        ("「はい。」と答える。 次。。。終", ["「はい。」と答える。", "次。。。", "終"]),
        ("no stop at all and 3.14 and e.g this", ["no stop at all and 3.14 and e.g this"]),
        (" \n \n", []),
        ("", []),
    ],
)
def test_a_passage_ends_with_a_line_or_a_sentence(text: str, parts: list[str]) -> None:
    assert cut_out("", text) == parts


def test_only_what_is_new_is_cut_and_the_rest_stays_as_it_is() -> None:
    before, after = "Answer.\nBe brief. Be kind.", "Answer.\nNew one. Be kind.\n\nNew two."
    assert cut_each_passage("p", before, after) == [
        Cut("p", "Answer.\nBe kind.\n\nNew two.", "New one."),
        Cut("p", "Answer.\nNew one. Be kind.\n\n", "New two."),
    ]
    assert cut_each_passage("p", before, before) == []


@pytest.mark.parametrize(
    "syntax",
    [
        "Ticket: {{ ticket }}",
        "{{ 'a. b' }}",
        "{% if vip %}",
        "{{ ticket\n  | trim\n  | upper }}",
        "{# a note. and\nanother #}",
    ],
)
def test_a_passage_with_template_syntax_is_never_cut_nor_split(syntax: str) -> None:
    found = cut_each_passage("p", "", f"One.\n{syntax}\nTwo.")
    assert [cut.passage for cut in found] == ["One.", "Two."]
    assert all(syntax in cut.prose for cut in found)


@given(TEXT, TEXT, st.sampled_from(["{{ a }}", "{% if a. b %}", "{# a.\nb #}"]))
def test_whatever_is_cut_the_template_stays(before: str, after: str, syntax: str) -> None:
    for cut in cut_each_passage("p", "", f"{before}\n{syntax}\n{after}"):
        if "{" not in before:
            assert syntax in cut.prose
        assert "{{ a }}" not in cut.passage


@given(st.integers(0, 60))
def test_many_new_passages_are_cut_in_few_parts_that_leave_none_out(count: int) -> None:
    lines = [f"Rule {number}." for number in range(count)]
    found = cut_each_passage("p", "", "\n".join(lines))
    assert len(found) == min(count, MAX_PARTS)
    assert [line for cut in found for line in cut.passage.splitlines()] == lines
    assert all(cut.passage.split("\n")[0] + "\n" not in cut.prose + "\n" for cut in found)


# ----------------------------------------------------------------------------- the harmful passage

BEFORE = "Route {{ ticket }}."
GOOD = " ".join(f"Good rule {number}." for number in range(8))


@dataclass
class Runner:
    """Runs cases by a rule on the text, and counts how many it ran."""

    passes: Callable[[str, str], bool]
    runs: int = 0

    def __call__(self, trials: Sequence[Trial]) -> list[Results]:
        self.runs += sum(len(trial.cases) for trial in trials)
        return [
            tuple(self._result(trial.overlay["route.md"], case) for case in trial.cases) for trial in trials
        ]

    def _result(self, text: str, case: str) -> CaseResult:
        passed = self.passes(text, case)
        outcome = Outcome(case, Status.PASSED if passed else Status.FAILED, float(passed))
        return CaseResult(Case(case, ("route.md",), Split.TRAIN), (outcome,))


def blamed(run: Runner, after: str, failing: Sequence[str] = ("one", "two")) -> str | None:
    found = find_harmful_passage(
        [FakePrompt(prose=BEFORE)], {}, {"route.md": f"{BEFORE} {after}"}, failing, run
    )
    return found.passage if found else None


def test_the_single_sentence_that_makes_the_cases_fail_is_found() -> None:
    run = Runner(lambda text, case: "Never ask" not in text)
    assert blamed(run, f"{GOOD} Never ask. {GOOD.replace('Good', 'Fine')}") == "Never ask."
    assert run.runs <= 17 + 1 + CONTROLS


def test_a_cut_that_would_be_refused_is_not_run() -> None:
    seen: list[str] = []

    def passes(text: str, case: str) -> bool:
        seen.append(text)
        return "Harm." not in text

    def fault(prompt: Prompt, prose: str) -> str | None:
        return None if "Harm." in prose else "it lost what must stay"

    after = {"route.md": f"{BEFORE} {GOOD} Harm."}
    found = find_harmful_passage([FakePrompt(prose=BEFORE)], {}, after, ("one", "two"), Runner(passes), fault)
    assert found is None
    assert seen
    assert all("Harm." in text for text in seen)


def test_where_one_of_two_passages_is_enough_to_break_it_no_single_one_is_to_blame() -> None:
    run = Runner(lambda text, case: "Never" not in text)
    assert blamed(run, f"{GOOD} Never ask. Never tell.") is None


def test_a_case_that_any_change_of_the_wording_mends_is_given_up_soon_and_blames_none() -> None:
    whole = f"{BEFORE} {GOOD}"
    run = Runner(lambda text, case: text != whole)
    assert blamed(run, GOOD) is None
    assert run.runs == MAX_EXAMINED * ROUND


def test_a_witness_that_any_change_of_the_wording_mends_convicts_nobody() -> None:
    whole = f"{BEFORE} {GOOD}"

    def passes(text: str, case: str) -> bool:
        return text != whole if case == "two" else "rule 5" not in text

    assert blamed(Runner(passes), GOOD) is None
    assert blamed(Runner(passes), GOOD, ["one", "two", "three"]) == "Good rule 5."


def test_two_passages_that_mend_a_case_are_told_apart_by_the_other_case() -> None:
    def passes(text: str, case: str) -> bool:
        return "rule 5" not in text or (case == "one" and "rule 2" not in text)

    assert blamed(Runner(passes), GOOD) == "Good rule 5."


def test_a_passage_that_mends_one_case_only_is_not_to_blame() -> None:
    assert blamed(Runner(lambda text, case: case == "one" and "rule 2" not in text), GOOD) is None


def test_after_a_case_that_no_cut_mends_another_is_examined() -> None:
    run = Runner(lambda text, case: case != "hopeless" and "rule 5" not in text)
    assert blamed(run, GOOD, ["hopeless", "one", "two"]) == "Good rule 5."
    assert blamed(Runner(lambda text, case: False), GOOD, ["one", "two", "three"]) is None


def test_a_single_failing_case_blames_nothing_and_costs_no_call() -> None:
    run = Runner(lambda text, case: "rule 5" not in text)
    assert blamed(run, GOOD, ["one"]) is None
    assert run.runs == 0


def test_however_much_was_added_and_fails_the_search_for_the_passage_costs_few_calls() -> None:
    run = Runner(lambda text, case: any(f"Rule {number}." not in text for number in range(12)))
    rules = "\n".join(f"Rule {number}." for number in range(200))
    assert blamed(run, rules, [str(number) for number in range(30)]) == "\n".join(rules.split("\n")[:12])
    assert run.runs <= MAX_EXAMINED * MAX_PARTS + (1 + CONTROLS) * MAX_WITNESSES


def test_a_text_that_only_lost_passages_has_none_to_blame_and_costs_no_call() -> None:
    run = Runner(lambda text, case: True)
    prompt, two = FakePrompt(prose=f"{BEFORE} {GOOD}"), ["one", "two"]
    assert find_harmful_passage([prompt], {}, {"route.md": BEFORE}, two, run) is None
    assert find_harmful_passage([prompt], {"route.md": GOOD}, {"route.md": GOOD}, two, run) is None
    assert run.runs == 0


def test_in_a_pipeline_only_the_prompts_that_were_changed_are_cut() -> None:
    run = Runner(lambda text, case: "Never" not in text)
    prompts = [FakePrompt(name="other.md", prose="Other. Prompt."), FakePrompt(prose=BEFORE)]
    found = find_harmful_passage(
        prompts, {}, {"route.md": f"{BEFORE}\nA.\nNever.\nB.\nC."}, ["one", "two"], run
    )
    assert found == Cut("route.md", f"{BEFORE}\nA.\nB.\nC.", "Never.")
    assert run.runs == 4 + 1 + CONTROLS
