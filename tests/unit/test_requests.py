"""What a writer reads in a request: what holds, what was measured, what was tried and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.failures import Category, FailedCase, Feedback
from pytest_promptopt.optimizer.acceptance import compare
from pytest_promptopt.optimizer.candidates import (
    ACCEPTED,
    MERGED,
    REFUSED,
    REJECTED,
    Candidate,
    EvaluatedCandidate,
)
from pytest_promptopt.optimizer.halting import Phase
from pytest_promptopt.optimizer.label_rates import balanced_accuracy, label_table, label_tallies
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.proposal.briefs import Briefing
from pytest_promptopt.optimizer.proposal.directions import (
    BALANCE,
    BOUNDARIES,
    CUT,
    DIRECTIONS,
    EDGES,
    FORM,
    RULES,
    SCRATCH,
    Directions,
    suitable_directions,
)
from pytest_promptopt.optimizer.proposal.memory import MAX_LESSON, Answered, Counts, Memory, Try, count_cases
from pytest_promptopt.optimizer.proposal.passing_cases import passing_cases_to_show
from pytest_promptopt.optimizer.proposal.proposer import (
    ProposalRequest,
    ask_for_replies,
    merge_texts,
    propose_texts,
)
from pytest_promptopt.optimizer.proposal.quoting import TAGS, quote_block
from pytest_promptopt.optimizer.proposal.replies import InvalidReply, Reply
from pytest_promptopt.optimizer.proposal.requests import (
    MEMORY_SHARE,
    MEMORY_TAGS,
    Brief,
    compose_request,
    memory_sections,
)
from pytest_promptopt.optimizer.proposal.tried_candidates import tried_candidate_texts
from pytest_promptopt.optimizer.rate_posterior import RatePosterior
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.optimizer.verdict_model import Kind, VerdictModel
from pytest_promptopt.prompts.examples import Example, with_examples
from pytest_promptopt.records import (
    Answer,
    Call,
    Case,
    CaseResult,
    Failure,
    Message,
    Outcome,
    Request,
    Split,
    Status,
)
from pytest_promptopt.results import CandidateVerdict
from tests.refine_world import SETTINGS, FakePrompt, Front, answer, new_prompt

NAME = "route.md"


def case(
    id: str,
    expected: Any,
    answer: str,
    *,
    split: Split = Split.TRAIN,
    told: bool = True,
    unread: bool = False,
    check: str = "",
    helpers: tuple[str, ...] = (),
    parameters: Mapping[str, str] | None = None,
) -> CaseResult:
    """A case whose ticket is its id.

    :param told: the outcome says what the test expects, also where the case passes.
    :param unread: it fails before the test compares anything.
    """
    passed = not unread and answer == (expected if isinstance(expected, str) else json.dumps(expected))
    failure = None
    if unread:
        said = f"the completion is not JSON (char {len(answer)}): {answer!r}"
        failure = Failure("ValueError", said, "t.py:1")
    elif not passed:
        failure = Failure("AssertionError", f"assert {answer!r}", "t.py:1", "==", expected, answer)
    outcome = Outcome(
        id,
        Status.PASSED if passed else Status.FAILED,
        float(passed),
        failure=failure,
        calls=(Call(NAME, {"ticket": id}, f"{id}/{answer}", answer, "end_turn", None, None, 0.1, False),),
        expected=expected if told else None,
        check=check,
        helpers=helpers,
        parameters=parameters or {},
    )
    return CaseResult(Case(id, (NAME,), split), (outcome,))


def cases(*kinds: tuple[str, str, int], told: bool = True) -> list[CaseResult]:
    """Cases by (expected, answer, how many)."""
    return [
        case(f"{answer} for {expected} {number}", expected, answer, told=told)
        for expected, answer, count in kinds
        for number in range(count)
    ]


def version(results: Sequence[CaseResult], *, text: str = "", id: str = "0") -> EvaluatedCandidate:
    by_split = {split: tuple(r for r in results if r.case.split is split) for split in Split}
    return EvaluatedCandidate(id, {NAME: text} if text else {}, by_split)


def briefing(results: Sequence[CaseResult], prompt: FakePrompt | None = None, **settings: Any) -> Briefing:
    group = PromptGroup((prompt or FakePrompt(),), tuple(result.case for result in results))
    return Briefing(group, replace(SETTINGS, **settings), SearchHooks())


def candidate(
    id: str,
    before: Sequence[CaseResult],
    after: Sequence[CaseResult],
    *,
    text: str = "Sort {{ ticket }}.",
    verdict: CandidateVerdict = REJECTED,
    kind: Kind = Kind.REWRITE,
    **more: Any,
) -> Candidate:
    """A candidate that was run on the cases of `after`."""
    made = Candidate(id, (NAME,), "go", overlay={NAME: text}, verdict=verdict, kind=kind, **more)
    return made.ran(tuple(after)).judged_by(compare(before, after))


def told(brief: Brief) -> str:
    return compose_request(brief, model="demo").messages[1].content


def request(
    results: Sequence[CaseResult],
    *candidates: Candidate,
    phase: Phase = Phase.TRAINING,
    prompt: FakePrompt | None = None,
    **settings: Any,
) -> str:
    """What the first candidate of an iteration is told after `candidates`."""
    desk = briefing(results, prompt, **settings)
    desk.briefs(1, phase, version(results))
    if candidates:
        desk.learn(1, candidates)
    return told(desk.briefs(2, phase, version(results))[0])


def section(name: str, text: str) -> str:
    return text.partition(f"<{name}>\n")[2].partition(f"\n</{name}>")[0]


REVIEWS = cases(("positive", "negative", 6), ("negative", "negative", 6))


class TestWhatHolds:
    def test_what_the_place_of_a_prompt_asks_is_told(self) -> None:
        prompt = FakePrompt(writing_rules=("Any other brace is doubled.",), takes_no_examples="not there")
        results = [case("a", "x", "y")]
        content = request(results, prompt=prompt, examples=4)
        assert "\n- Any other brace is doubled.\n" in content
        assert "the tool itself adds" not in content
        assert "the tool itself adds" in request(results, examples=4)

    def test_model_turns_and_lines_to_be_kept_are_told_first(self) -> None:
        front = Front("Sorts mail.", ("Be brief.",), "house/m", 24, {"temperature": 0})
        prompt = FakePrompt(front=front, roles=("system", "user"))
        content = request(REVIEWS, prompt=prompt)
        assert section("target_model", content) == "house/m, max_tokens 24, temperature 0 (fixed)"
        assert "- Keep the chat turns: system, user.\n" in section("fixed_rules", content)
        order = ["task", "target_model", "fixed_rules", "keep", "measured", "current_prompt", "failures",
                 "passing", "direction"]  # fmt: skip
        places = [content.index(f"<{name}") for name in order]
        assert places == sorted(places)

    def test_the_model_of_the_session_answers_where_the_file_names_none(self) -> None:
        assert section("target_model", request(REVIEWS, model="house/n")) == "house/n (fixed)"
        assert "<target_model>" not in request(REVIEWS)

    def test_requests_about_one_text_begin_alike(self) -> None:
        desk = briefing(cases(("a", "b", 90)), candidates=3)
        first, second, third = map(told, desk.briefs(1, Phase.TRAINING, version(cases(("a", "b", 90)))))
        for other in (second, third):
            assert first.partition("<failures")[0] == other.partition("<failures")[0]
            assert section("direction", first) != section("direction", other)

    def test_the_source_of_the_test_is_told_line_by_line(self) -> None:
        check = "def test(prompt, x):\n    assert prompt(x) == '</test_source>'\n    # what the cases want"
        content = request([case("a", "</test_source>", "2", check=check)])
        assert section("test_source", content).split("\n") == [
            "| def test(prompt, x):",
            "|     assert prompt(x) == '\\u003c/test_source>'",
        ]

    def test_after_the_test_stands_once_what_it_calls(self) -> None:
        helper = "def clean(answer):\n    return answer.removeprefix('a key').strip('.!')"
        checks = [f"def test_{name}(prompt, x):\n    assert clean(prompt(x)) == '2'" for name in "ab"]
        results = [case(check, "2", "1", check=check, helpers=(helper,)) for check in checks]
        told = section("test_source", request(results)).split("\n")
        assert told[-2:] == ["| def clean(answer):", "|     return answer.removeprefix(...).strip('.!')"]
        assert sum("def clean" in line for line in told) == 1

    def test_of_a_long_test_both_ends_are_told(self) -> None:
        lines = "\n".join(f"    step(prompt, {number})" for number in range(100))
        check = f"def test(prompt):\n{lines}\n    assert prompt() == '2'"
        told = section("test_source", request([case("a", "2", "1", check=check)]))
        assert told.startswith("| def test(prompt):\n")
        assert " characters left out … " in told
        assert told.endswith("\n|     assert prompt() == '2'")

    @pytest.mark.parametrize(
        "check",
        [
            "text, want = {'one': ('pay me', 'billing'), 'two': ('HIDDEN zebra', 'HIDDEN')}[name]",
            "text = 'pay me' if name == 'one' else 'HIDDEN zebra'",
            "text = 'pay me,HIDDEN zebra'.split(',')[int(name)]",
            "if name == 'two':\n        assert 'HIDDEN' in prompt(q='HIDDEN zebra')",
            "match name:\n        case 'HIDDEN':\n            want = 1",
            "want = 'billing'  # HIDDEN goes to zebra",
            "def text_of():\n        'HIDDEN zebra'\n    want = f'HIDDEN {name}'",
            "want = {'one': 1, 'two': 4711}[name]",
            "want = 4711 if name == 'two' else 1",
            "assert prompt(q=b'HIDDEN')",
        ],
    )
    @pytest.mark.parametrize("split", [Split.HELDOUT, Split.VALIDATION])
    def test_what_a_test_says_of_other_cases_is_not_told(self, check: str, split: Split) -> None:
        check = f"def test(prompt, name):\n    {check}\n    assert prompt(q=text) == want"
        results = [
            case("pay me", "billing", "sales", check=check, parameters={"name": "one"}),
            case("HIDDEN zebra", "HIDDEN", "x", check=check, parameters={"name": "two"}, split=split),
        ]
        for phase in (Phase.TRAINING, Phase.VALIDATION):
            content = request(results, phase=phase)
            assert "HIDDEN" not in content
            assert "4711" not in content
            assert "|     assert prompt(q=text) == want" in section("test_source", content)

    def test_what_training_cases_say_is_told_in_the_source(self) -> None:
        body = "assert prompt(q=f'{x:.2f}').json()['queue'] in ('sales', 'billing') and x[0] < 200"
        results = [case("a", {"queue": "billing"}, "x", check=f"def test(prompt, x):\n    {body}")]
        results.append(case("b", {"queue": "sales"}, "x"))
        assert f"|     {body}" in section("test_source", request(results))


class TestLabels:
    def test_right_and_wrong_stand_per_expected_label(self) -> None:
        results = cases(("sales", "sales", 3), ("billing", "sales", 2), ("billing", "billing", 1))
        assert section("measured", request(results)).split("\n") == [
            "4 of 6 training cases pass",
            "right by expected answer (and what came instead):",
            '"billing" 1/3 ("sales" 2)',
            '"sales" 3/3',
        ]

    def test_cases_that_a_text_was_not_run_on_yet_are_counted_apart(self) -> None:
        """Else `4 of 6 pass` would seem to be less, or more, than `9 of 12` an iteration later."""
        results = cases(("sales", "sales", 3), ("billing", "sales", 2))
        base = RatePosterior([one.case.id for one in results], VerdictModel())
        base.add(results)
        partly = RatePosterior(base.cases, VerdictModel(), base=base)
        partly.add(results[:3])
        incumbent = replace(version(results[:3]), posterior=partly)
        (brief, *_) = briefing(results).briefs(1, Phase.TRAINING, incumbent)
        assert section("measured", told(brief)).startswith(
            "3 of 3 training cases pass; it was not run on 2 others yet"
        )

    def test_one_answer_to_everything_is_seen(self) -> None:
        assert 'it answered "negative" to 12 of 12, whatever was expected' in request(REVIEWS)
        assert balanced_accuracy(REVIEWS) == 0.5
        mixed = cases(("positive", "negative", 3), ("positive", "positive", 3), ("negative", "negative", 6))
        assert "whatever was expected" not in request(mixed)
        assert balanced_accuracy(mixed) == 0.75

    def test_one_answer_is_no_collapse_where_it_is_what_is_expected(self) -> None:
        results = cases(("negative", "negative", 19), ("positive", "negative", 1))
        assert label_tallies(results)[0].collapsed is None

    def test_where_passing_cases_do_not_say_what_they_expect_their_answer_does(self) -> None:
        kinds = (
            ("sales", "sales", 3),
            ("sales", "billing", 1),
            ("billing", "sales", 2),
            ("billing", "billing", 1),
        )
        rows = [(row.label, row.right, row.total) for row in label_tallies(cases(*kinds, told=False))[0].rows]
        assert rows == [("billing", 1, 3), ("sales", 3, 4)]

    def test_too_little_known_gives_no_table(self) -> None:
        assert label_tallies(cases(("billing", "sales", 2), ("sales", "sales", 9), told=False)) == ()

    def test_json_answers_are_counted_by_key(self) -> None:
        gold = [{"amount": number, "currency": "EUR" if number % 2 else "USD"} for number in range(6)]
        results = [
            case(str(number), value, json.dumps({**value, "currency": "USD"}))
            for number, value in enumerate(gold)
        ]
        assert list(label_table(label_tallies(results))) == [
            'right by key: "currency" 3/6; the other keys are right',
            '"currency": "EUR" 0/3 ("USD" 3)',
            '"currency": "USD" 3/3',
            '"currency": it answered "USD" to 6 of 6, whatever was expected',
        ]

    def test_an_answer_that_is_no_label_and_a_label_in_another_form_are_told_apart(self) -> None:
        results = cases(
            ("a", "b", 1), ("a", "A.", 1), ("a", "what is it about?", 1), ("b", "b", 2), ("b", "a", 2)
        )
        rows = list(label_table(label_tallies(results)))
        assert rows[1] == '"a" 0/3 ("b" 1, the same in another form 1, others 1)'
        assert list(label_table(label_tallies(cases(("a", "A.", 2), ("b", "b", 2)))))[1] == (
            '"a" 0/2 (the same in another form 2)'
        )

    def test_a_wrong_answer_that_comes_again_is_shown_though_no_case_expects_it(self) -> None:
        results = cases(("a", "c", 2), ("a", "C.", 1), ("a", "what is it about?", 1), ("b", "b", 2))
        assert list(label_table(label_tallies(results)))[1] == '"a" 0/4 ("c" 3, no label 1)'
        whole = "I am a small model, and I can not tell you what this message is about"
        long = cases(("a", whole, 2), ("a", "b", 1), ("b", "b", 2))
        assert list(label_table(label_tallies(long)))[1] == '"a" 0/3 (no label 2, "b" 1)'

    def test_texts_are_no_labels(self) -> None:
        (tally,) = label_tallies([case(str(number), f"text {number}", "x") for number in range(9)])
        assert tally.rows == ()


class TestFailures:
    def test_what_is_expected_is_told_though_the_answer_could_not_be_read(self) -> None:
        results = [
            case("one", {"amount": 1}, "Sure! 1", unread=True),
            case("two", {"amount": 2}, "Sure! 22", unread=True),
        ]
        content = section("measured", request(results)), request(results).partition("<failures")[2]
        assert content[1].count("the completion is not JSON") == 1
        for number, said in (
            ("one", '{"amount": 1} but got "Sure! 1"'),
            ("two", '{"amount": 2} but got "Su'),
        ):
            assert f'input: "{number}"\ndifference: expected {said}' in content[1]

    def test_parameters_of_the_test_are_told_where_nothing_else_tells_them(self) -> None:
        parameters = {"ticket": "one", "limit": "30", "label": "billing"}
        content = request([case("one", "billing", "sales", parameters=parameters)])
        assert "the test's parameters: limit = 30\n" in content

    def test_one_line_failures_are_all_shown_to_everybody(self) -> None:
        results = cases(("positive", "negative", 13))
        for brief in briefing(results, candidates=3).briefs(1, Phase.TRAINING, version(results)):
            assert len({each.case for each in brief.failed}) == 13

    def test_the_form_of_an_answer_alone_is_not_told_twice(self) -> None:
        shown = FailedCase("1", "wrong", {"ticket": "x"}, "fee", "lost", (), "", answer='"Lost".')
        told_once = told(
            Brief(FakePrompt(), "P", "go", 1, 1, (Category("wrong", 1, "", (), "", "", ()),), (shown,))
        )
        assert "answer:" not in told_once


class TestGuards:
    def test_every_label_is_guarded_and_those_in_question_first(self) -> None:
        passing = cases(*((label, label, 4) for label in "abcdefgh"))
        found = passing_cases_to_show(passing, [], NAME, confused={"h", "G"})
        assert [guard.expected for guard in found[:2]] == ["g", "h"]
        two = passing_cases_to_show(cases(("yes", "yes", 5), ("no", "no", 5)), [], NAME)
        assert sorted(guard.expected for guard in two) == ["no", "no", "yes", "yes"]

    def test_the_same_case_is_never_shown_twice(self) -> None:
        training = cases(("a", "a", 3), ("b", "b", 3))
        validation = [
            replace(result, case=replace(result.case, split=Split.VALIDATION))
            for result in cases(("a", "b", 2), ("b", "a", 2))
        ]
        desk = briefing([*training, *validation])
        desk._state.broken = [training[0].case.id]
        (brief,) = desk.briefs(1, Phase.VALIDATION, version([*training, *validation]))
        ids = [guard.id for guard in brief.passing]
        assert len(ids) == len(set(ids)) == 6

    def test_what_is_expected_is_told_where_the_answer_says_it_in_another_form(self) -> None:
        result = case("x", "positive", "positive")
        (outcome,) = result.outcomes
        loud = replace(outcome, calls=(replace(outcome.calls[0], text="Positive."),))
        content = request([replace(result, outcomes=(loud,)), case("y", "negative", "z")])
        assert 'answer: "Positive."\nexpected: "positive"' in section("passing", content)


class TestMemory:
    BEFORE = cases(("fee", "lost", 4), ("lost", "lost", 2))

    def test_a_try_is_told_with_its_counts_its_text_and_what_came(self) -> None:
        after = [
            case("lost for fee 0", "fee", "fee"),
            case("lost for fee 1", "fee", 'The topic is "fee".'),
            case("lost for lost 0", "lost", "delivery"),
        ]
        tried = candidate("1.1", self.BEFORE, after, text="Sort it: {{ ticket }}.", reason="It is short.")
        assert section("tried", request(self.BEFORE, tried)).split("\n") == [
            "#1.1 rewrite, rejected: fixed 1 of 2 failing run, broke 1 of 1 passing run",
            "it said: It is short.",
            "its text:",
            "| Sort it: {{ ticket }}.",
            'fixed "lost for fee 0"',
            'broke "lost for lost 0": "delivery" (expected "lost")',
            'failed "lost for fee 1": "The topic is \\"fee\\"." (expected "fee")',
        ]

    def test_a_long_text_is_told_by_what_it_changes(self) -> None:
        prompt = FakePrompt(prose="\n".join(f"Line {number}." for number in range(40)) + "\n{{ ticket }}")
        tried = candidate(
            "1.1", self.BEFORE, self.BEFORE, text=prompt.prose.replace("Line 7.", "Line seven.")
        )
        content = section("tried", request(self.BEFORE, tried, prompt=prompt))
        assert "its text, against the current prompt:\n- Line 7.\n+ Line seven.\n" in content

    def test_the_examples_in_a_text_are_no_part_of_what_was_tried(self) -> None:
        """They stand in no request; a writer is to see what a rewrite changed, and whether it paid."""
        shown = [Example({"ticket": f"a ticket {number}"}, "fee") for number in range(16)]
        prompt = FakePrompt(prose=with_examples("Sort {{ ticket }}.", shown))
        rewrite = candidate(
            "1.1", self.BEFORE, self.BEFORE, text=with_examples("Sort it: {{ ticket }}.", shown)
        )
        drawn = candidate("1.2", self.BEFORE, self.BEFORE, text=prompt.prose, kind=Kind.EXAMPLES)
        content = section("tried", request(self.BEFORE, rewrite, drawn, prompt=prompt))
        assert "its text:\n| Sort it: {{ ticket }}.\n" in content
        assert "#1.2 examples, rejected: " in content
        assert "a ticket" not in content
        assert "current prompt" not in content, "with other examples it is another text"

    def test_of_the_examples_that_stand_in_the_prompt_one_of_each_answer_is_shown(self) -> None:
        """A writer who does not know of them writes rules against what they make the model do."""
        shown = [Example({"ticket": f"a ticket {number}"}, "fee") for number in range(3)]
        prose = with_examples("Sort {{ ticket }}.", [*shown, Example({"ticket": "a parcel"}, "delivery")])
        content = request(self.BEFORE, prompt=FakePrompt(prose=prose))
        told = section("examples_before_it", content)
        assert "The tool has put 4 training cases" in told
        assert 'their answers, in this order: "fee", "fee", "fee", "delivery"' in told
        assert '\n"a ticket 0": "fee"\n"a parcel": "delivery"' in told, "one of each answer"
        assert "a ticket 1" not in content
        assert "the 4 that stand before it without their own example" in section("measured", content)
        assert "examples_before_it" not in request(self.BEFORE, prompt=FakePrompt(prose="Sort {{ ticket }}."))

    def test_of_many_examples_the_answers_are_counted(self) -> None:
        shown = [Example({"ticket": f"a ticket {number}"}, "fee") for number in range(12)]
        prose = with_examples("Sort {{ ticket }}.", [*shown, Example({"ticket": "a parcel"}, "delivery")])
        told = section("examples_before_it", request(self.BEFORE, prompt=FakePrompt(prose=prose)))
        assert 'their answers: "fee" 12, "delivery" 1; the last one "delivery"' in told

    def test_counts_are_of_cases_run_alone(self) -> None:
        assert str(Counts(0, 25, 0, 0)) == "fixed 0 of 25 failing run, no passing case was run"
        assert str(Counts(9, 10, 5, 6)) == "fixed 9 of 10 failing run, broke 5 of 6 passing run"
        assert str(Counts()) == "no case had an answer"
        assert str(Counts(0, 25, 1, 3, raised=20, lowered=2)) == (
            "fixed 0 of 25 failing run (of the others 20 scored higher, 2 lower), broke 1 of 3 passing run"
        )

    def test_a_score_that_rose_is_told_though_the_case_still_fails(self) -> None:
        before, after = (
            [
                CaseResult(Case(name, ("p",), Split.TRAIN), (Outcome(name, Status.FAILED, score),))
                for name, score in zip("abc", scores, strict=True)
            ]
            for scores in ((0.4, 0.4, 0.4), (0.6, 0.3, 0.4))
        )
        assert count_cases(after, compare(before, after)) == Counts(failing=3, raised=1, lowered=1)

    def test_what_a_comparison_takes_to_hold_is_not_counted(self) -> None:
        """A text that was cut from another is compared by that one's results where it was not run itself."""
        ran = [case("lost for fee 0", "fee", "fee")]
        taken = [case("lost for fee 1", "fee", "fee"), case("lost for lost 0", "lost", "fee")]
        assert count_cases(ran, compare(self.BEFORE, [*ran, *taken])) == Counts(1, 1, 0, 0)

    def test_a_tag_over_two_lines_is_none(self) -> None:
        assert quote_block("<\nfailures>", "| ") == "| \\u003c\n| failures>"

    def test_a_candidate_that_answers_the_same_to_everything_is_told_so(self) -> None:
        before = cases(("yes", "no", 5), ("no", "no", 5))
        after = [case(result.case.id, result.outcomes[0].expected, "yes") for result in before]
        content = section("tried", request(before, candidate("1.1", before, after, text="{{ ticket }}")))
        assert 'it answered "yes" to 10 of 10, whatever was expected' in content

    def test_how_often_a_candidate_gave_which_answer_is_told(self) -> None:
        """A model that leans to one answer shows it here long before it gives this answer only."""
        before = cases(("yes", "no", 5), ("no", "no", 5))
        after = [case(one.case.id, one.outcomes[0].expected, "no") for one in before[3:]]
        after += [case(one.case.id, "yes", "yes") for one in before[:2]]
        after += [case(before[2].case.id, "yes", "I do not know, it depends on the weather of the day.")]
        content = section("tried", request(before, candidate("1.1", before, after, text="{{ ticket }}")))
        assert '\nit answered "no" 7, "yes" 2, no label 1\n' in content

    def test_answers_of_json_are_counted_by_key(self) -> None:
        wanted = [f'{{"cur": "{"EUR" if number % 2 else "USD"}"}}' for number in range(8)]
        before = [case(f"c{number}", text, "{}") for number, text in enumerate(wanted)]
        got = ['{"cur": "EUR"}'] * 4 + wanted[4:]
        after = [case(f"c{number}", text, got[number]) for number, text in enumerate(wanted)]
        content = section("tried", request(before, candidate("1.1", before, after, text="{{ ticket }}")))
        assert '\n"cur": it answered "EUR" 6, "USD" 2\n' in content

    def test_one_rate_on_the_same_cases_makes_candidates_comparable(self) -> None:
        """Each was run on other cases, against the text that was best at its time."""
        tried = Try("1.1", "rewrite", False, REJECTED, ran=Counts(1, 5, 0, 9), rate=0.456)
        measured = "fixed 1 of 5 failing run, broke 0 of 9 passing run; about 46% of all"
        assert tried.measured == measured
        assert tried.short() == f"✗ rewrite: {measured}"

    def test_a_text_is_told_with_the_examples_that_stood_before_it(self) -> None:
        """The same text with other examples is another prompt."""
        three = [
            Example({"ticket": f"{answer} {n}"}, answer) for n, answer in enumerate(("fee", "fee", "lost"))
        ]
        long = [Example({"ticket": "a"}, f"answer {number}") for number in range(6)]
        money = [
            Example({"ticket": "a"}, json.dumps({"amount": number, "currency": currency}))
            for number, currency in enumerate(("EUR", "USD", "USD"))
        ]
        prompt = FakePrompt(prose=with_examples("Sort {{ ticket }}.", three))
        texts = (with_examples("Sort: {{ ticket }}.", each) for each in (three, three[::-1], long, money, ()))
        tried = [candidate(f"1.{n}", self.BEFORE, self.BEFORE, text=text) for n, text in enumerate(texts)]
        content = section("tried", request(self.BEFORE, *tried, prompt=prompt))
        told = [line for line in content.split("\n") if line.startswith("it had")]
        assert told == [
            "it had the current examples",
            'it had 3 examples: "fee" 2, "lost" 1; the last one "fee"',
            "it had 6 examples",
            'it had 3 examples: "currency": "USD" 2, "EUR" 1; the last one "USD"',
            "it had no examples",
        ]
        assert Try("1.1", "rewrite", False, REJECTED, examples=tuple(three)).short() == (
            "✗ rewrite with 3 examples: not run"
        )

    def test_nothing_is_said_of_examples_where_no_text_has_any(self) -> None:
        tried = candidate("1.1", self.BEFORE, self.BEFORE, text="Sort: {{ ticket }}.")
        assert "examples" not in section("tried", request(self.BEFORE, tried))

    def test_why_a_text_was_refused_is_told_and_not_the_text(self) -> None:
        refused = Candidate(
            "1.1", (NAME,), "go", overlay={NAME: "secret"}, verdict=REFUSED, why="It is long."
        )
        assert section("tried", request(self.BEFORE, refused)) == "#1.1 rewrite, refused: It is long"

    def test_the_tools_own_cut_is_told_by_what_it_did_and_never_under_the_writers_reason(self) -> None:
        cut = candidate(
            "1.2", self.BEFORE, self.BEFORE, kind=Kind.CUT, verdict=ACCEPTED, reason="I am the writer."
        )
        repeated = Candidate(
            "1.3", (NAME,), "", kind=Kind.CUT, verdict=REFUSED, why="this text was tried before"
        )
        content = request(self.BEFORE, cut, repeated)
        assert "#1.2 cut, accepted: fixed 0 of 4 failing run" in content
        assert "writer" not in content
        assert "tried before" not in content

    def test_a_part_that_was_not_run_by_itself_is_no_try(self) -> None:
        part = Candidate("1.1", (NAME,), "go", overlay={NAME: "x"}, verdict=MERGED)
        assert "<tried>" not in request(self.BEFORE, part)

    def test_of_what_was_long_ago_the_most_telling_is_kept_by_kind(self) -> None:
        memory = Memory()
        memory.remember(0, [Try("0.1", "cut", True, ACCEPTED, ran=Counts(1, 5, 0, 9))])
        for number in range(1, 60):
            ran = Counts(0, 5, number % 7, 9)
            memory.remember(
                number, [Try(f"{number}.1", "rewrite", False, REJECTED, ran=ran, reason="y " * 200)]
            )
        lessons = memory.lessons()
        assert lessons[0] == "so far: cut 1 of 1 accepted, rewrite 0 of 59 accepted"
        assert lessons[1] == "✓ cut: fixed 1 of 5 failing run, broke 0 of 9 passing run"
        assert lessons[2].startswith("✗ rewrite: fixed 0 of 5 failing run, broke 6 of 9 passing run: y y")
        assert len(lessons) == 2 + 7, "what says the same is told once"
        assert max(map(len, lessons)) <= MAX_LESSON
        assert [each.id for each in memory.recent()] == ["59.1", "58.1"]

    def test_the_text_of_every_candidate_is_told_where_one_of_them_is_long(self) -> None:
        """A text that was rejected teaches little where it is not shown."""
        texts = ("x " * 250, "a short one: {{ ticket }}", "another short one: {{ ticket }}")
        tried = tuple(
            Try(f"1.{number}", "rewrite", False, REJECTED, text, Counts(1, 2, 3, 4), reason="r " * 100)
            for number, text in enumerate(texts, 1)
        )
        brief = Brief(FakePrompt(), "Sort {{ ticket }}.", "go", 1, 2, tried=tried)
        told = "".join(memory_sections(brief, 800))
        assert "a short one" in told
        assert "another short one" in told
        assert told.index("#1.1") < told.index("#1.2") < told.index("#1.3")
        assert 600 < len(told) <= 800 + MEMORY_TAGS, "nobody's room is wasted"

    def test_the_last_iteration_is_told_with_an_answer_before_an_earlier_one_has_any_room(self) -> None:
        answers = tuple(Answered(f"ticket {number}", "fee", "lost") for number in range(3))
        tried = tuple(
            Try(
                name,
                "rewrite",
                False,
                REJECTED,
                f"{name}: {{{{ ticket }}}}",
                Counts(0, 5, 0, 1),
                answers=answers,
            )
            for name in ("2.1", "2.2", "1.1", "1.2")
        )
        brief = Brief(FakePrompt(), "Sort {{ ticket }}.", "go", 1, 2, tried=tried)
        told = "".join(memory_sections(brief, 420))
        for name in ("2.1", "2.2"):
            own = told.partition(f"#{name} ")[2].partition("#")[0]
            assert f"| {name}: {{{{ ticket }}}}\n" in own
            assert 'failed "ticket 0": "lost" (expected "fee")' in own
        assert "#1." not in told

    def test_sets_of_examples_take_no_room_from_texts(self) -> None:
        memory = Memory()
        ran = Counts(3, 5, 0, 9)
        memory.remember(1, [Try("1.1", "rewrite", False, REJECTED), Try("1.2", "examples", False, REJECTED)])
        memory.remember(
            2, [Try("2.1", "rewrite", False, REJECTED), Try("2.2", "examples", True, ACCEPTED, ran=ran)]
        )
        assert [each.id for each in memory.recent()] == ["2.1", "1.1", "2.2", "1.2"]

    def test_nor_where_one_iteration_is_told(self) -> None:
        text = Try("1.1", "rewrite", False, REJECTED, "{{ ticket }} " + "x" * 300, Counts(0, 5, 0, 1))
        examples = Try("1.2", "examples", False, REJECTED, "{{ ticket }} " + "y" * 300, Counts(0, 5, 0, 1))
        told = "\n".join(tried_candidate_texts([text, examples], "Sort {{ ticket }}.", 500))
        assert "x" * 300 in told
        assert "#1.2" in told
        assert "y" not in told

    @given(
        st.lists(st.integers(1, 4_000), max_size=6),
        st.lists(st.integers(1, 150), max_size=40),
        st.integers(1, 4_000),
    )
    def test_memory_is_a_quarter_of_a_request_at_most(
        self, texts: list[int], lessons: list[int], prose: int
    ) -> None:
        brief = Brief(
            FakePrompt(),
            "P" * prose,
            "go",
            1,
            2,
            tried=tuple(
                Try(str(number), "rewrite", False, REJECTED, "x" * size, Counts(1, 2, 3, 4))
                for number, size in enumerate(texts)
            ),
            lessons=tuple("y" * size for size in lessons),
        )
        content = "".join(message.content for message in compose_request(brief, model="demo").messages)
        memory = sum(len(section(name, content)) for name in ("tried", "lessons"))
        assert memory <= MEMORY_SHARE * len(content)

    @given(st.text(alphabet='ab </>\n"+-|_newprompt{}', max_size=80))
    def test_no_text_that_was_tried_opens_or_closes_a_section(self, text: str) -> None:
        assert TAGS.first(quote_block(text, "| ")) is None
        assert len(quote_block(text, "| ").split("\n")) == max(1, len(text.splitlines()))

    def test_cases_of_validation_leave_their_counts_alone(self) -> None:
        before = [case("secret input", "secret label", "secret answer", split=Split.VALIDATION)]
        training = cases(("fee", "lost", 2))
        tried = candidate("1.1", training, training).ran(tuple(before))
        tried = tried.judged_by(compare(before, before, split=Split.VALIDATION))
        content = request([*training, *before], tried, phase=Phase.VALIDATION)
        assert "; on cases not shown: fixed 0 of 1 failing run, no passing case was run" in content
        assert "secret" not in content

    def test_what_broke_training_stands_beside_the_patterns(self) -> None:
        training = cases(("fee", "fee", 2), ("lost", "lost", 2))
        validation = [case("hidden", "fee", "lost", split=Split.VALIDATION)]
        after = [case(training[0].case.id, "fee", "lost")]
        content = request([*training, *validation], candidate("1.1", training, after), phase=Phase.VALIDATION)
        assert '1 case: expected "fee" but got "lost"' in section("patterns", content)
        assert 'broke "fee for fee 0": "lost" (expected "fee")' in section("tried", content)
        assert section("passing", content).split("\n")[2] == 'input: "fee for fee 0"'


def failing(total: int, **kinds: int) -> Feedback:
    """So many failing cases of each kind (underscores for spaces)."""
    categories = tuple(
        Category(kind.replace("_", " "), count, "", (), "", "", ()) for kind, count in kinds.items()
    )
    return Feedback(total, sum(kinds.values()), 0, categories, ())


class TestDirections:
    @pytest.mark.parametrize(
        ("feedback", "collapsed", "first"),
        [
            (failing(25, truncated=25), False, FORM),
            (failing(25, truncated=25), True, FORM),
            (failing(25, wrong_value=25), False, SCRATCH),
            (failing(26, boundary_confusion=13), True, BALANCE),
            (failing(26, boundary_confusion=13), False, BOUNDARIES),
            (failing(24, wrong_value=9, truncated=2), False, RULES),
            (failing(50, wrong_value=4), False, EDGES),
            (failing(2, other_failure=2), False, SCRATCH),
        ],
    )
    def test_the_kind_of_failures_calls_for_the_first(
        self, feedback: Feedback, collapsed: bool, first: str
    ) -> None:
        assert suitable_directions(feedback, collapsed=collapsed)[0] == first

    @pytest.mark.parametrize(
        ("kinds", "first"),
        [
            ([("billing", "technical", 8), ("technical", "billing", 8), ("sales", "sales", 9)], BOUNDARIES),
            ([("billing", "sales", 2), ("sales", "sales", 23)], EDGES),
            ([("billing", "sales", 25)], BALANCE),
        ],
    )
    def test_a_request_takes_the_line_that_its_failures_call_for(
        self, kinds: list[tuple[str, str, int]], first: str
    ) -> None:
        (brief,) = briefing(results := cases(*kinds), candidates=1).briefs(
            1, Phase.TRAINING, version(results)
        )
        assert brief.direction == first

    def test_none_is_taken_again_for_a_text_while_others_are_left(self) -> None:
        directions = Directions()
        taken = [directions.take("P", (FORM, CUT), 1)[0] for _ in DIRECTIONS]
        assert taken[:2] == [FORM, CUT]
        assert sorted(taken) == sorted(DIRECTIONS)
        assert directions.take("P", (FORM, CUT), 1) == (FORM,)

    def test_another_text_takes_what_paid_for_the_last_one_again_and_what_failed_last(self) -> None:
        directions = Directions()
        assert directions.take("P", (FORM, CUT, RULES), 2) == (FORM, CUT)
        directions.learn(FORM, accepted=False)
        directions.learn(CUT, accepted=True)
        assert directions.take("Q", (FORM, CUT, RULES), 3) == (CUT, RULES, FORM)

    def test_candidates_of_one_iteration_differ(self) -> None:
        assert len(set(Directions().take("P", (FORM,), 10))) == 10


class TestMerging:
    def test_it_tells_the_task_what_each_version_did_and_what_none_fixed(self) -> None:
        before = cases(("fee", "lost", 3), ("lost", "lost", 2))
        one = candidate("1.1", before, [case("lost for fee 0", "fee", "fee")], text="One {{ ticket }}")
        two = candidate("1.2", before, [case("lost for lost 0", "lost", "fee")], text="Two {{ ticket }}")
        desk = briefing(before)
        desk.learn(1, [one, two])
        asked: list[Request] = []

        def ask(requests: Sequence[Request]) -> list[Answer | ModelError]:
            asked.extend(requests)
            return [answer("both")]

        merge_texts([desk.merging(FakePrompt(), version(before), [one, two], 1)], ask)
        content = asked[0].messages[1].content
        assert section("task", content) == "Route tickets."
        assert section("measured", content).startswith("2 of 5 training cases pass")
        assert "lost for fee 0" not in content.partition("<failures")[2].partition("</failures>")[0]
        assert "lost for fee 1" in content.partition("<failures")[2].partition("</failures>")[0]
        fixed = 'fixed 1 of 1 failing run, no passing case was run\nfixed: "lost for fee 0"\n<version>\nOne'
        broke = 'broke 1 of 1 passing run\nbroke: "lost for lost 0"\n<version>\nTwo'
        assert fixed in content
        assert broke in content


class TestRepair:
    ASKED = Request("demo", (Message("user", "write"),))

    def ask(self, *answers: str | ModelError) -> tuple[list[list[Request]], Any]:
        sent: list[list[Request]] = []
        left = iter(answers)

        def ask(requests: Sequence[Request]) -> list[Answer | ModelError]:
            sent.append(list(requests))
            replies = [next(left) for _ in requests]
            return [answer(each) if isinstance(each, str) else each for each in replies]

        return sent, ask

    def objection(self, number: int, text: str) -> str | None:
        return f"It lost {number}: </new_prompt>" if "ticket" not in text else None

    def test_a_text_that_would_be_refused_is_mended_in_one_more_turn(self) -> None:
        sent, ask = self.ask(new_prompt("lost"), new_prompt("{{ ticket }}"))
        assert ask_for_replies([self.ASKED], [FakePrompt()], ask, self.objection) == [
            Reply("{{ ticket }}", "it is better")
        ]
        assert "could not be used: It lost 0: \\u003c/new_prompt>.\n" in sent[1][0].messages[-1].content

    @pytest.mark.parametrize(
        "second", [new_prompt("lost again"), "out of ideas", ModelError(ErrorKind.TIMEOUT, "late")]
    )
    def test_it_is_asked_once_only_and_what_is_left_is_a_text(self, second: str | ModelError) -> None:
        sent, ask = self.ask(new_prompt("lost"), second)
        (reply,) = ask_for_replies([self.ASKED], [FakePrompt()], ask, self.objection)
        assert isinstance(reply, Reply)
        assert reply.text in ("lost", "lost again")
        assert len(sent) == 2

    def test_the_objections_of_a_run_come_with_what_is_wanted(self) -> None:
        sent, ask = self.ask(new_prompt("lost"), new_prompt("{{ ticket }}"))
        brief = Brief(FakePrompt(), "P", "go", 1, 1)
        (reply,) = propose_texts(ProposalRequest((brief,), "demo", 1, objection=self.objection), ask)
        assert not isinstance(reply, InvalidReply)
        assert reply.text == "{{ ticket }}"
        assert len(sent) == 2
