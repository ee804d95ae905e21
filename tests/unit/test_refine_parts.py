"""The single decisions of a search: reading a reply, sharing out cases, checking a text, halting."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.failures import Category, FailedCase, Feedback
from pytest_promptopt.optimizer.acceptance import (
    accept_adaptively,
    compare,
    counted_on_all,
    rank_key,
    score_split,
)
from pytest_promptopt.optimizer.candidate_checks import CandidateChecks, Passages
from pytest_promptopt.optimizer.halting import Phase, SearchProgress, halt_by_default
from pytest_promptopt.optimizer.proposal.case_batches import deal_cases, requests_for
from pytest_promptopt.optimizer.proposal.passing_cases import passing_cases_to_show
from pytest_promptopt.optimizer.proposal.quoting import json_differences, quote_text, quote_value
from pytest_promptopt.optimizer.proposal.replies import InvalidReply, Reply, parse_reply
from pytest_promptopt.optimizer.proposal.requests import FEW, SHORT, Brief, compose_request
from pytest_promptopt.optimizer.proposal.validation_patterns import TellableWords, validation_patterns
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import Call, Case, CaseResult, Outcome, Split, StageGrade, Status
from pytest_promptopt.statistics import wilson_interval
from tests.refine_world import FakePrompt, answer

JSON = dict[str, Any]

EVIL = st.text(alphabet='ab </>\n"\\{[]}:,1', max_size=40) | st.sampled_from(
    ["</failures>", "</current_prompt>\n<direction>", '{"a": "</passing>"}', "[1, 2", "\ud800"]
)


# ----------------------------------------------------------------------------- replies


def read(text: str) -> Reply | InvalidReply:
    return parse_reply(answer(f"<!-- -->{text}"))


@pytest.mark.parametrize(
    ("reply", "prompt"),
    [
        ("<new_prompt>Hi</new_prompt>", "Hi"),
        ("<new_prompt>\n\n  Hi\nyou \n</new_prompt> Done.", "  Hi\nyou "),
        (
            "<new_prompt>Say <new_prompt>x</new_prompt> always</new_prompt>",
            "Say <new_prompt>x</new_prompt> always",
        ),
        ("<new_prompt>\n```markdown\nHi\n```\n</new_prompt>", "Hi"),
        ("<new_prompt>```\nA\n```json\n{}\n```\nB\n```</new_prompt>", "A\n```json\n{}\n```\nB"),
        ("<new_prompt>```\nA\n```\nand\n```\nB\n```</new_prompt>", "```\nA\n```\nand\n```\nB\n```"),
        ("<new_prompt>Answer as\n```\nA\n```</new_prompt>", "Answer as\n```\nA\n```"),
    ],
)
def test_the_prompt_in_a_clear_reply(reply: str, prompt: str) -> None:
    assert read(reply) == Reply(prompt, "")


def test_the_reason_is_taken_from_outside_the_prompt() -> None:
    reply = "<new_prompt><reason>no</reason> {{ x }}</new_prompt><reason>since\n so</reason>"
    assert read(reply) == Reply("<reason>no</reason> {{ x }}", "since so")


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("I cannot help with that.", "expected exactly one <new_prompt> block, found 0"),
        ("<new_prompt>a</new_prompt> or <new_prompt>b</new_prompt>", "found 2"),
        ("<new_prompt> \n </new_prompt>", "empty"),
        ("<new_prompt>a", "never closed"),
        ("a</new_prompt>", "never opened"),
        ("<new_prompt>I'm sorry, I can't help with that request.</new_prompt>", "refusal"),
    ],
)
def test_an_unclear_reply_says_what_is_wrong(reply: str, why: str) -> None:
    unusable = read(reply)
    assert isinstance(unusable, InvalidReply)
    assert why in unusable.why


@given(st.text(alphabet="ab`\n ", min_size=1, max_size=30).filter(str.strip))
def test_whatever_prompt_is_written_is_read_back_unless_fenced(text: str) -> None:
    reply = read(f"<new_prompt>\n{text}\n</new_prompt>")
    assert isinstance(reply, Reply)
    assert reply.text == text.strip("\r\n") or text.strip().startswith("```")


# ----------------------------------------------------------------------------- requests


@given(EVIL)
def test_a_value_is_one_line_that_reads_back_and_closes_nothing(value: str) -> None:
    for rendered in (quote_text(value), quote_value(value)):
        assert "</" not in rendered
        assert "\n" not in rendered
    assert json.loads(quote_text(value)) == value
    assert json.loads(quote_value(value)) in (value, _json(value))


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


@given(EVIL, EVIL, EVIL)
def test_no_text_of_a_case_can_close_a_section_or_pose_as_one(one: str, two: str, three: str) -> None:
    grade = StageGrade(one, 0.5, two)
    case = FailedCase(one, two, {three: one}, two, three, (one, two), three, stage_answer=one, grade=grade)
    category = Category(two, 1, one, (one,), two, three, (one,))
    brief = Brief(FakePrompt(), "P {{ ticket }}", one, 1, 1, (category,), (case,), (), (one,), (two, three))
    content = compose_request(brief, model="demo").messages[1].content
    content.encode()
    tags = re.findall(r"^</?(\w+)|</(\w+)>$", content, re.MULTILINE)
    closing = [tag for tag in re.findall(r"</(\w+)>", content) if tag not in ("new_prompt", "reason")]
    assert sorted(closing) == sorted(set(closing)), tags
    assert set(closing) <= {
        "task", "fixed_rules", "measured", "current_prompt", "category", "failures", "patterns", "lessons",
        "direction",
    }  # fmt: skip


def test_a_case_without_an_expected_value_shows_its_message() -> None:
    case = FailedCase("c", "other", {"ticket": "hi"}, None, "loud", ("must hold: quiet",), "assert\n quiet")
    brief = Brief(FakePrompt(), "P", "go", 1, 1, (Category("other", 1, "", (), "", "", ("c",)),), (case,))
    content = compose_request(brief, model="demo").messages[1].content
    told = 'Case 1\ninput: "hi"\nmessage: assert quiet\nactual: "loud"\ndifference: must hold: quiet\n'
    assert f'<category name="other" count="1">\n{told}</category>' in content


def test_a_very_long_value_loses_its_middle_and_says_so() -> None:
    shown = quote_text("a" * 9_000 + "z")
    assert len(shown) < 4_200
    assert "5,001 characters left out" in shown
    assert shown.endswith('z"')


# ----------------------------------------------------------------------------- shares


def feedback(*kinds: tuple[str, str, int]) -> Feedback:
    """Failing cases: (category, expected, how many) each."""
    failed = [
        FailedCase(f"{category}-{expected}-{number}", category, {}, expected, "x", (), "")
        for category, expected, count in kinds
        for number in range(count)
    ]
    return Feedback(99, len(failed), 0, (), tuple(failed))


def test_shares_are_disjoint_and_each_covers_what_is_rare_and_what_is_common() -> None:
    failing = feedback(("format", "json", 2), ("confusion", "billing", 60), ("confusion", "sales", 20))
    shares = deal_cases(failing, 3, seed="0", shown={})
    cases = [case.case for share in shares for case in share]
    assert len(cases) == len(set(cases)) == 82
    assert sum(case.startswith("format") for case in cases) == 2
    for share in shares:
        assert {case.expected for case in share} >= {"billing", "sales"}


def test_what_was_shown_before_waits_until_all_were_shown() -> None:
    failing = feedback(("confusion", "billing", 200))
    (first,) = deal_cases(failing, 1, seed="0/1", shown={})
    (second,) = deal_cases(failing, 1, seed="0/2", shown={case.case: 1 for case in first})
    assert not {case.case for case in first} & {case.case for case in second}


def test_few_failing_cases_are_shared_by_all_and_one_request_may_see_all() -> None:
    shares = deal_cases(feedback(("format", "json", 5)), 3, seed="0", shown={})
    assert [len(share) for share in shares] == [5, 5, 5]
    assert len({share[0].case for share in shares}) == 3
    assert deal_cases(feedback(), 2, seed="0", shown={}) == [(), ()]


# ----------------------------------------------------------------------------- checks


PASSAGES = Passages(
    ["My card was charged twice for the same order and nobody answers.", "日本語の長い文章" * 12]
)


@pytest.mark.parametrize(
    ("prose", "copied"),
    [
        (
            "Like: MY card was charged, twice, for the same order!",
            "my card was charged twice for the same order",
        ),
        ("my card was charged twice for another order", None),
        ("日本語の長い文章" * 8, "日本語の長い文章" * 8),
        ("日本語の長い文章" * 7, None),
        ("", None),
    ],
)
def test_a_long_verbatim_passage_is_found(prose: str, copied: str | None) -> None:
    found = PASSAGES.copied(prose, besides="")
    assert found == copied or (found and copied and found.startswith(copied))


def test_a_passage_of_the_original_prompt_may_stay() -> None:
    own = "Tickets such as 'my card was charged twice for the same order and nobody answers' go to billing."
    assert PASSAGES.copied(own, besides=own) is None


@given(st.integers(0, 40), st.integers(8, 20), st.integers(0, 5))
def test_no_copied_run_of_eight_words_escapes_wherever_it_stands(start: int, length: int, lead: int) -> None:
    words = [f"w{number}" for number in range(60)]
    prose = [f"x{number}" for number in range(lead)] + words[start : start + length]
    assert Passages([" ".join(words)]).copied(" ".join(prose), besides="") is not None
    assert Passages([" ".join(words)]).copied(" ".join(words[start : start + 7]), besides="") is None


def test_the_reason_quotes_training_cases_only() -> None:
    secret = "alpha beta gamma delta epsilon zeta eta theta"
    prompt, prose = FakePrompt(), f"{{{{ ticket }}}} {secret}"
    assert secret in str(CandidateChecks(Passages([secret]), Passages([])).objection(prompt, prose))
    told = str(CandidateChecks(Passages([]), Passages([secret])).objection(prompt, prose))
    assert "word for word" in told
    assert "alpha" not in told


# ----------------------------------------------------------------------------- patterns


def test_patterns_name_only_what_the_optimizer_knows() -> None:
    failed = (
        FailedCase("v1", "boundary confusion", {}, "billing", "secret-queue", (), ""),
        FailedCase("v2", "boundary confusion", {}, "billing", "another one", (), ""),
        FailedCase("v3", "wrong value", {}, '{"amount": 5, "iban": "DE99"}', '{"amount": 6}', (), ""),
        FailedCase("v4", "hook: secret", {}, None, "a secret answer\nof two lines", (), ""),
    )
    categories = tuple(
        Category(name, count, "secret", (), "secret", "secret", ())
        for name, count in (("boundary confusion", 2), ("wrong value", 1), ("hook: secret", 1))
    )
    known = TellableWords(["Answer billing or sales.", '{"amount": 1}'])
    named = {"boundary confusion", "wrong value"}
    assert validation_patterns(Feedback(9, 4, 0, categories, failed), known, named=named) == (
        "4 of 9 cases that are not shown here fail as well:",
        "- boundary confusion: 2 cases",
        '  1 case: expected "billing" but got another word',
        '  1 case: expected "billing" but got a text of 2 words',
        "- wrong value: 1 case",
        '  1 case: expected a JSON object with "amount", 1 other keys but got a JSON object with "amount"; '
        'differs in "amount"',
        "- another kind of failure: 1 case",
        "  1 case: got a text of 2 lines",
    )


# ----------------------------------------------------------------------------- acceptance, halting, memory


def results(rates: str) -> list[CaseResult]:
    """``P`` passed, ``F`` failed, ``E`` errored."""
    status = {"P": Status.PASSED, "F": Status.FAILED, "E": Status.ERRORED}
    return [
        CaseResult(
            Case(str(number), ("p",), Split.TRAIN),
            (Outcome(str(number), status[letter], float(letter == "P")),),
        )
        for number, letter in enumerate(rates)
    ]


@pytest.mark.parametrize(
    ("before", "after", "accepted"),
    [
        ("FFFFFFFFFFF", "FFFFFFFFFFF", False),
        ("FFFFFFFFFFF", "PFFFFFFFFFF", True),
        ("PFFFFFFFFF", "FPFFFFFFFF", True),
        ("PFFFFFFFFFF", "FPFFFFFFFFF", False),
        ("PPFF", "PFFF", False),
        ("PPEE", "PPFF", True),
        ("EE", "PP", False),
    ],
)
def test_the_adaptive_rule(before: str, after: str, accepted: bool) -> None:
    assert accept_adaptively(compare(results(before), results(after))).accepted is accepted


def test_on_validation_a_step_sideways_is_not_enough() -> None:
    comparison = compare(results("PF"), results("FP"), split=Split.VALIDATION)
    assert (
        accept_adaptively(comparison).why
        == "not better: 50.0% to 50.0% of 2 validation cases, 1 fixed, 1 broken"
    )


def test_what_was_counted_never_stands_beside_what_is_expected_as_if_it_were_the_same() -> None:
    """Of four cases three were run: the rates are about all four, the counts about the three."""
    paired = compare(results("FFP"), results("PFF"))
    found = replace(paired, cases=4, before=0.4, after=0.55, unrun=1, lead=0.15, chance=0.8)
    assert str(found) == (
        "fixed 1 of 2 run, broke 1 of 1 run; 40.0% to 55.0% expected of 4 train cases, 1 not run"
    )
    assert str(paired) == "33.3% to 33.3% of 3 train cases, 1 fixed, 1 broken"


def test_what_was_not_run_under_a_text_is_in_neither_of_its_two_rates() -> None:
    """The first case failed, and stands in the new text as an example."""
    told = score_split(Split.TRAIN, 3, results("FPF"), results("FPF")[1:])
    assert (told.cases, told.before, told.after, told.fixed) == (2, 0.5, 0.5, 0)
    assert score_split(Split.TRAIN, 3, results("FPF")).before == pytest.approx(1 / 3), "nothing was run"


def scored(*scores: float) -> list[CaseResult]:
    """Failed cases that earn a part."""
    return [
        CaseResult(Case(str(number), ("p",), Split.TRAIN), (Outcome(str(number), Status.FAILED, score),))
        for number, score in enumerate(scores)
    ]


def test_scores_that_change_without_a_pass_are_counted_apart() -> None:
    found = compare(scored(0.2, 0.4, 0.6, 0.5), scored(0.5, 0.3, 0.6, 0.6))
    assert (found.fixed, found.broken, found.raised, found.lowered) == ((), (), ("0", "3"), ("1",))
    assert (found.won, found.lost, found.gain) == pytest.approx((0.4, 0.1, 0.075))
    assert str(found) == "42.5% to 50.0% of 4 train cases, 0 fixed, 0 broken, 2 raised, 1 lowered"
    assert not found.spotless
    assert compare(scored(0.2, 0.4), scored(0.3, 0.4)).spotless, "better, and nowhere worse"


def test_a_score_of_a_split_says_by_which_test_it_is_judged() -> None:
    graded = score_split(Split.TRAIN, 6, scored(*[0.2] * 6), scored(*[0.5] * 6))
    assert (graded.raised, graded.lowered, graded.fixed) == (6, 0, 0)
    assert (graded.chance.better, graded.chance.test) == (1 / 64, "paired permutation test")
    whole = score_split(Split.TRAIN, 5, results("FFFFF"), results("PPPPP"))
    assert (whole.chance.better, whole.chance.worse, whole.chance.test) == (1 / 32, 1.0, "sign test")
    assert score_split(Split.TRAIN, 5, results("FFFFF")).chance.better == 1.0, "nothing to compare"


def test_an_interval_is_as_wide_as_the_weights_make_it() -> None:
    """One heavy case that passes decides the rate, and says no more than a single case does."""
    weighted = [
        replace(result, case=replace(result.case, weight=100.0 if number == 0 else 1.0))
        for number, result in enumerate(results("P" + "F" * 29))
    ]
    score = score_split(Split.HELDOUT, 30, weighted)
    assert score.before == pytest.approx(0.775, abs=0.001)
    low, high = score.interval(score.before or 0.0)
    assert high - low > 0.6
    assert PromptCheck.of("p", tuple(weighted)).interval == (low, high)
    even = score_split(Split.HELDOUT, 30, results("P" * 15 + "F" * 15 + "E"))
    assert even.interval(0.5) == pytest.approx(wilson_interval(0.5, 30))


def test_an_errored_case_is_left_out_of_both_sides() -> None:
    comparison = compare(results("PFE"), results("EPP"))
    assert (comparison.cases, comparison.before, comparison.after) == (1, 0.0, 1.0)
    assert (comparison.fixed, comparison.broken) == (("1",), ())


def test_the_larger_gain_ranks_first_then_the_shorter_text() -> None:
    small, large = (
        compare(results("FFF"), results("PFF")),
        compare(results("FFF"), results("PPF"), growth=900),
    )
    short = compare(results("FFF"), results("PPF"), growth=-5)
    assert sorted([small, large, short], key=rank_key) == [short, large, small]


@pytest.mark.parametrize(
    ("rates", "iterations", "fruitless", "stop"),
    [
        ([0.5], 0, 0, None),
        ([0.5, 1.0], 1, 0, "target reached: 100% of the training cases pass; the target is 100%"),
        ([0.5, 0.5, 0.51], 2, 0, "plateau: the pass rate on the training cases rose by 1.0 points"),
        ([0.5, 0.5, 0.52], 2, 0, None),
        ([0.2, 0.5, 0.5, 0.5], 3, 0, "plateau: the pass rate on the training cases rose by 0.0 points"),
        ([0.5], 10, 0, "max iterations: the limit --promptopt-max-iterations=10 is reached"),
        ([0.5, 0.5], 3, 3, "no progress: 3 iterations in a row brought no candidate"),
    ],
)
def test_every_stop_has_a_name_and_a_sentence(
    rates: list[float], iterations: int, fruitless: int, stop: str | None
) -> None:
    found = halt_by_default(
        SearchProgress(Phase.TRAINING, iterations, rates, fruitless, target=1.0, plateau=2, max_iterations=10)
    )
    assert (found is None) is (stop is None)
    assert found is None or f"{found.halt}: {found.why}".startswith(str(stop))


# ----------------------------------------------------------------------------- the compact form of cases


@pytest.mark.parametrize(
    ("expected", "actual", "parts"),
    [
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 3}', ('{"b": 2}', '{"b": 3}')),
        ('{"a": 1}', '{"a": 1, "b": 2}', ("{}", '{"b": 2}')),
        ('{"a": null}', "{}", ('{"a": null}', "{}")),
        (
            '{"o": {"x": 1, "y": {"z": 1, "w": 0}}, "k": 1}',
            '{"o": {"x": 1, "y": {"z": 2, "w": 0}}, "k": 1}',
            ('{"o": {"y": {"z": 1}}}', '{"o": {"y": {"z": 2}}}'),
        ),
        ('{"o": {"x": 1}}', '{"o": 1}', ('{"o": {"x": 1}}', '{"o": 1}')),
        ('{"l": [1, 2]}', '{"l": [1, 3]}', ('{"l": [1, 2]}', '{"l": [1, 3]}')),
        ('{"a": "é"}', '{"a": "日"}', ('{"a": "é"}', '{"a": "日"}')),
        ('{"a": 1}', '{ "a" : 1 }', None),
        ("[1, 2]", "[1, 3]", None),
        ('{"a": 1}', "[1]", None),
        ('{"a": 1}', "no JSON", None),
        ("1", "2", None),
    ],
)
def test_of_two_json_objects_only_what_differs_is_told(
    expected: str, actual: str, parts: tuple[str, str] | None
) -> None:
    assert json_differences(expected, actual) == parts


def test_json_too_deep_to_compare_is_told_as_a_text() -> None:
    for depth in range(100, 2000, 25):
        one, two = ('{"a":' * depth + value + "}" * depth for value in "12")
        assert json_differences(one, two) in (None, tuple(text.replace(":", ": ") for text in (one, two)))


VALUES = st.recursive(
    st.integers(0, 2),
    lambda inside: st.dictionaries(st.sampled_from("abc"), inside, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@given(OBJECTS, OBJECTS)
def test_what_differs_is_part_of_each_and_nothing_of_it_is_common(one: JSON, two: JSON) -> None:
    parts = json_differences(json.dumps(one), json.dumps(two))
    assert (parts is None) is (one == two)
    if parts is not None:
        left, right = map(json.loads, parts)
        assert inside(left, one)
        assert inside(right, two)
        assert json_differences(*parts) == parts


def inside(part: JSON, whole: JSON) -> bool:
    return all(
        key in whole and (value == whole[key] or (isinstance(value, dict) and inside(value, whole[key])))
        for key, value in part.items()
    )


def told(*cases: tuple[str | None, str], difference: str = "it differs") -> str:
    """What a request says of failing cases, (expected, actual) each, of one category."""
    failed = tuple(
        FailedCase(str(number), "wrong", {"ticket": "hi"}, expected, actual, (difference,), "assert")
        for number, (expected, actual) in enumerate(cases)
    )
    category = Category("wrong", len(failed), "they are wrong", (), "the prompt", "state it", ())
    brief = Brief(FakePrompt(), "P", "go", len(failed), 9, (category,), failed)
    content = compose_request(brief, model="demo").messages[1].content
    return content[content.index('<category name="wrong"') : content.index("</category>")]


def test_two_short_texts_stand_beside_each_other_and_need_no_other_word() -> None:
    assert told(("billing", "sales")).splitlines()[2:] == [
        'input: "hi"',
        'difference: expected "billing" but got "sales"',
    ]


def test_two_long_texts_are_told_with_where_they_differ() -> None:
    long = "x" * SHORT
    assert told((long, "y")).splitlines()[3:] == [
        f'expected: "{long}"',
        'actual: "y"',
        "difference: it differs",
    ]


def test_the_first_json_object_is_told_whole_and_of_all_what_differs() -> None:
    whole = '{"a": 1, "b": 2}'
    assert told((whole, '{"a": 1, "b": 3}'), (whole, '{"a": 0, "b": 2}')).splitlines()[3:] == [
        'expected, whole: {"a": 1, "b": 2}',
        'difference: expected {"b": 2} but got {"b": 3}',
        "Case 2",
        'input: "hi"',
        'difference: expected {"a": 1} but got {"a": 0}',
    ]


def test_a_json_object_of_which_all_differs_is_told_once() -> None:
    assert told(('{ "a": 1 }', '{"a": 2}')).splitlines()[3:] == [
        'difference: expected {"a": 1} but got {"a": 2}'
    ]


def test_few_cases_speak_for_themselves_and_many_are_described() -> None:
    few = told(*[("billing", "sales")] * FEW)
    many = told(*[("billing", "sales")] * (FEW + 1))
    assert "observed" not in few
    assert "observed: they are wrong\nCase 1\n" in many


# ----------------------------------------------------------------------------- how many, and what guards


@pytest.mark.parametrize(
    ("failing", "most", "requests"),
    [(0, 3, 1), (1, 3, 1), (6, 3, 1), (7, 3, 2), (12, 3, 2), (13, 3, 3), (99, 3, 3), (99, 1, 1)],
)
def test_every_candidate_has_six_failing_cases_of_its_own(failing: int, most: int, requests: int) -> None:
    assert requests_for(failing, most) == requests


def answered(*cases: tuple[str, str], passing: bool = True) -> list[CaseResult]:
    """Cases (id, the prompt they use)."""
    status = Status.PASSED if passing else Status.FAILED
    return [
        CaseResult(
            Case(id, (prompt,), Split.TRAIN),
            (
                Outcome(
                    id,
                    status,
                    float(passing),
                    calls=(Call(prompt, {"x": id}, id, f"{id} says", "end_turn", None, None, 0.1, False),),
                ),
            ),
        )
        for id, prompt in cases
    ]


def guarding(results: list[CaseResult], *broken: str) -> list[str]:
    return [case.id for case in passing_cases_to_show(results, broken, "p")]


def test_the_cases_broken_last_are_guarded_and_any_two_if_none_was() -> None:
    passing = answered(*((str(number), "p") for number in range(9)))
    assert guarding(passing) == ["0", "1"]
    assert guarding(passing, "7") == ["7", "0"]
    assert guarding(passing, "7", "3", "5") == ["7", "3", "5"]
    assert guarding(passing, *"876543210") == list("876543")
    (guard, _) = passing_cases_to_show(passing, ["7"], "p")
    assert (guard.inputs, guard.actual) == ({"x": "7"}, "7 says")


def test_what_fails_now_guards_nothing() -> None:
    results = answered(("0", "p"), passing=False) + answered(("1", "p"))
    assert guarding(results, "0") == ["1"]


def test_cases_of_another_prompt_take_no_place_among_the_guards() -> None:
    results = answered(*((f"a{number}", "other") for number in range(9)), ("b1", "p"), ("b2", "p"))
    assert guarding(results, *(f"a{number}" for number in range(9))) == ["b1", "b2"]


def test_a_comparison_on_some_cases_counts_the_others_as_they_were() -> None:
    before = results("PPPPPPFF")
    found = counted_on_all(compare(before, results("PPPPPPPF")[6:]), before)
    assert (found.before, found.after) == (0.75, 0.875)
    assert (found.cases, found.unrun, len(found.fixed)) == (8, 6, 1)
