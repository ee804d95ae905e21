"""Training cases become examples: which of them, with which answer, and which sets are tried."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.errors import ModelError
from pytest_promptopt.optimizer.candidates import Candidate, EvaluatedCandidate, OpenIteration
from pytest_promptopt.optimizer.example_sets import (
    ROOM,
    CaseExample,
    draw_example_sets,
    shown_by,
    sizes_up_to,
    standing_in,
    usable_examples,
)
from pytest_promptopt.optimizer.halting import Phase
from pytest_promptopt.optimizer.label_balance import Lean
from pytest_promptopt.optimizer.prompt_groups import PromptGroup, connected_groups
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.optimizer.race import BATCH
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.optimizer.verdict_model import Kind
from pytest_promptopt.prompts.examples import (
    Example,
    Form,
    examples_in,
    form_of_examples,
    with_examples,
    without_examples,
)
from pytest_promptopt.records import Answer, Call, Case, CaseResult, Failure, Outcome, Request, Split, Status
from pytest_promptopt.results import PromptResult
from pytest_promptopt.settings import NO_MODEL
from pytest_promptopt.strategies.refine.example_candidates import ExampleCandidates, Exchange
from pytest_promptopt.strategies.refine.search import RefineSearch
from pytest_promptopt.strategies.refine.state import ExampleTries
from tests.refine_world import SETTINGS, FakePrompt, Need, World, answer, needs

TRAIN, VALIDATION, HELDOUT = Split.TRAIN, Split.VALIDATION, Split.HELDOUT


def case(
    asked: str,
    answer: str,
    *,
    passed: bool = True,
    expected: Any = None,
    compared: Any = None,
    split: Split = TRAIN,
    function: str = "test_sort",
    prompts: Sequence[str] = ("sort.md",),
) -> CaseResult:
    """A case that asked once per prompt; `compared` is what a failed ``==`` had of the answer."""
    id = f"t.py::{function}[{asked}]"
    calls = tuple(
        Call(name, {"message": asked}, f"{name}/{asked}", answer, "end_turn", None, None, 0.1, False)
        for name in prompts
    )
    failure = None
    if not passed:
        operator = "==" if compared is not None else None
        failure = Failure("AssertionError", "m", "t.py:1", operator, expected if operator else None, compared)
    status = Status.PASSED if passed else Status.FAILED
    outcome = Outcome(id, status, float(passed), failure=failure, calls=calls, expected=expected)
    return CaseResult(Case(id, tuple(prompts), split), (outcome,))


def answers(*results: CaseResult, prompt: str = "sort.md", besides: Sequence[CaseResult] = ()) -> list[str]:
    return [example.answer for example in usable_examples(results, prompt, besides=besides)]


class TestTheAnswerOfAnExample:
    def test_the_expected_value_or_an_answer_that_passed(self) -> None:
        found = usable_examples(
            [
                case("a", "Card", expected="card"),
                case("b", "It is a rate.", passed=False, expected="rate", compared="It is a rate."),
                case("c", "pin"),
                case("d", "no idea", passed=False),
            ],
            "sort.md",
        )
        assert found == (
            CaseExample({"message": "a"}, "card", "t.py::test_sort[a]", False),
            CaseExample({"message": "b"}, "rate", "t.py::test_sort[b]", True),
            CaseExample({"message": "c"}, "pin", "t.py::test_sort[c]", False),
        )

    def test_json_is_written_as_json(self) -> None:
        wanted = {"amount": 5, "currency": "€"}
        assert (
            answers(
                case("a", '```json\n{"amount": 5, "currency": "€"}\n```', expected=wanted),
                case("b", "Five euros", passed=False, expected=wanted),
            )
            == ['{"amount": 5, "currency": "€"}'] * 2
        )

    def test_a_test_of_a_part_of_the_answer_shows_answers_that_passed(self) -> None:
        whole = '{"queue": "billing", "why": "money"}'
        assert answers(
            case("a", whole, expected="billing"),
            case("b", '{"queue": "sales"}', passed=False, expected="billing", compared="sales"),
        ) == [whole]

    def test_a_test_of_the_length_shows_no_number(self) -> None:
        assert answers(case("a", "far too long", passed=False, expected=5, compared=12)) == []

    @pytest.mark.parametrize(("expected", "shown"), [("x", ["x"]), (5, ["5"]), ([1], ["[1]"]), (True, [])])
    def test_where_nothing_shows_what_is_compared(self, expected: Any, shown: list[str]) -> None:
        assert answers(case("a", "prose", passed=False, expected=expected)) == shown

    def test_an_expected_value_is_the_answer_of_the_last_prompt_of_a_pipeline(self) -> None:
        results = [
            case("a", "code", expected="code", prompts=("plan.md", "sort.md")),
            case("b", "x", passed=False, expected="code", compared="x", prompts=("plan.md", "sort.md")),
        ]
        assert answers(*results) == ["code", "code"]
        assert answers(*results, prompt="plan.md") == ["code"], "what it answered when the case passed"

    def test_an_empty_answer_is_no_example(self) -> None:
        assert answers(case("a", "", expected=""), case("b", " \n")) == []


class TestWhatMayNotBeShown:
    def test_cases_of_other_splits(self) -> None:
        results = [case("a", "x"), case("b", "x", split=VALIDATION), case("c", "x", split=HELDOUT)]
        assert [example.case for example in usable_examples(results, "sort.md")] == ["t.py::test_sort[a]"]

    def test_a_case_that_asks_what_a_validation_case_asks(self) -> None:
        hidden = case("Where is  MY card", "x", split=VALIDATION, function="test_other")
        assert answers(case("where is my card", "x"), case("b", "y"), besides=[hidden]) == ["y"]

    def test_a_case_that_stands_in_the_text_is_known_there(self) -> None:
        results = [case("a", "x"), case("b", "y")]
        prose = with_examples("Sort: {{ message }}", usable_examples(results[:1], "sort.md"))
        assert standing_in(prose, results, "sort.md") == {"t.py::test_sort[a]"}

    def test_cases_that_ask_the_same_and_want_something_else(self) -> None:
        assert answers(case("a", "x"), case("A", "y"), case("b", "z"), case("B", "z")) == ["z"]

    def test_errored_cases_and_those_that_ask_twice(self) -> None:
        errored = CaseResult(Case("e", ("sort.md",), TRAIN), (Outcome("e", Status.ERRORED, 0.0, error="no"),))
        twice = case("a", "x", prompts=("sort.md", "sort.md"))
        assert answers(errored, twice) == []

    def test_an_example_shows_what_is_left_after_redaction_and_is_still_known(self) -> None:
        def redact(text: str) -> str:
            return text.replace("Jane", "[name]")

        results = [case("I am Jane", "Hi Jane"), case("I am [name]", "x", split=VALIDATION)]
        (example,) = usable_examples(results, "sort.md", besides=results[1:], redact=redact)
        assert (example.inputs, example.answer) == ({"message": "I am [name]"}, "Hi [name]")
        prose = with_examples("{{ message }}", [example])
        assert "t.py::test_sort[I am Jane]" in standing_in(prose, results, "sort.md", redact=redact)


def pool(*labels: str, fails: str = "") -> list[CaseExample]:
    return [
        CaseExample({"message": f"text {number} of {label}"}, label, f"{number}-{label}", label in fails)
        for number, label in enumerate(labels)
    ]


class TestSets:
    def test_labels_are_balanced(self) -> None:
        for drawn in draw_example_sets(pool(*"aaaaaaaaaaaabbbbcccc"), seed=1, sizes=(3, 6)):
            assert set(Counter(example.answer for example in drawn).values()) == {len(drawn) // 3}

    def test_the_labels_in_json_answers_are_balanced(self) -> None:
        """The other keys of these answers are of different values."""
        paid = [
            CaseExample({"m": f"{n}"}, json.dumps({"amount": n, "currency": name}), f"{n}", True)
            for n, name in enumerate(["USD"] * 12 + ["EUR"] * 4 + ["GBP"] * 4)
        ]
        for drawn in draw_example_sets(paid, seed=1, sizes=(3, 6)):
            shown = Counter(json.loads(example.answer)["currency"] for example in drawn)
            assert set(shown.values()) == {len(drawn) // 3}

    def test_labels_are_held_as_often_as_in_a_set_that_is_good(self) -> None:
        like = pool(*"abbb")
        for drawn in draw_example_sets(pool(*"ab" * 12), seed=1, sizes=(4, 8, 12), like=like):
            shown = Counter(example.answer for example in drawn)
            assert (shown["a"], shown["b"]) == (len(drawn) // 4, len(drawn) * 3 // 4)

    def test_a_label_that_a_good_set_has_not_comes_too(self) -> None:
        for drawn in draw_example_sets(pool(*"abc" * 8), seed=1, sizes=(8,), like=pool(*"aab")):
            assert Counter(example.answer for example in drawn) == {"a": 4, "b": 2, "c": 2}

    def test_where_a_good_set_has_few_labels_the_others_come_as_often(self) -> None:
        """A label that fails comes first, be it one that the good set has or not."""
        everything = pool(*"abcdefghij" * 2, fails="efgh")
        for drawn in draw_example_sets(everything, seed=1, sizes=(4,), like=pool(*"abcd")):
            assert {example.answer for example in drawn} == {*"efgh"}

    def test_where_there_are_more_labels_than_places_those_that_fail_come_first(self) -> None:
        for drawn in draw_example_sets(pool(*"aabbccddee", fails="bd"), seed=1, sizes=(2,)):
            assert {example.answer for example in drawn} == {"b", "d"}

    def test_free_texts_are_as_different_as_can_be(self) -> None:
        same = [
            CaseExample({"m": f"buy apples {n}"}, f"buy apples {n} now", f"s{n}", False) for n in range(8)
        ]
        other = [
            CaseExample({"m": word}, f"{word}!", word, False) for word in ("ships", "tea", "snow", "ink")
        ]
        for drawn in draw_example_sets([*same, *other], seed=3, sizes=(5,)):
            assert sum(example in other for example in drawn) == 4

    def test_cases_that_fail_are_mixed_with_others(self) -> None:
        mixed = [CaseExample({"m": f"{n}"}, "a" if n % 4 < 2 else "b", f"{n}", n % 2 == 0) for n in range(32)]
        for drawn in draw_example_sets(mixed, seed=0, sizes=(4, 8)):
            assert sum(example.fails for example in drawn) == len(drawn) // 2

    def test_never_more_than_half_of_the_pool(self) -> None:
        assert [len(drawn) for drawn in draw_example_sets(pool(*"ab" * 5), seed=0)] == [2, 2, 2, 4, 4, 4]
        assert draw_example_sets(pool("a", "b", "a"), seed=0) == []
        assert draw_example_sets([], seed=0) == []

    def test_a_set_has_its_room(self) -> None:
        size = ROOM // 2 - 100
        long = [*pool(*"aabb"), *(CaseExample({"m": "x" * size}, "a", f"l{n}", True) for n in range(40))]
        for drawn in draw_example_sets(long, seed=0, sizes=(2, 4, 8)):
            assert sum(len(e.inputs.get("m", "")) for e in drawn) <= ROOM
        assert {len(drawn) for drawn in draw_example_sets(long, seed=0, sizes=(2, 4, 8))} == {2, 4}
        costly = draw_example_sets(long, seed=0, sizes=(2, 4), length=lambda example: size)
        assert {len(drawn) for drawn in costly} == {2}

    def test_the_order_is_not_that_of_the_labels(self) -> None:
        orders = {"".join(e.answer for e in drawn) for drawn in draw_example_sets(pool(*"ab" * 40), seed=0)}
        assert len({order[:2] for order in orders}) > 1

    @given(
        st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), max_size=40),
        st.integers(0, 5),
        st.data(),
    )
    def test_the_same_seed_gives_the_same_different_sets(
        self, cases: list[tuple[str, bool]], seed: int, data: st.DataObject
    ) -> None:
        examples = [CaseExample({"m": f"{n}"}, a, f"{n:03}", fails) for n, (a, fails) in enumerate(cases)]
        found = draw_example_sets(examples, seed=seed)
        assert draw_example_sets(data.draw(st.permutations(examples)), seed=seed) == found
        assert len({frozenset(e.case for e in drawn) for drawn in found}) == len(found)
        assert all(len({e.case for e in drawn}) == len(drawn) <= len(cases) // 2 for drawn in found)

    def test_another_seed_gives_other_sets(self) -> None:
        assert draw_example_sets(pool(*"ab" * 40), seed=0) != draw_example_sets(pool(*"ab" * 40), seed=1)

    @pytest.mark.parametrize(
        ("most", "sizes"), [(0, ()), (1, (1,)), (3, (2, 3)), (8, (2, 4, 8)), (16, (2, 4, 8, 12, 16))]
    )
    def test_sizes_up_to_what_the_user_allows(self, most: int, sizes: tuple[int, ...]) -> None:
        assert sizes_up_to(most) == sizes


def test_the_prompts_of_a_pipeline_show_half_of_the_cases_at_most_together() -> None:
    """What stands in either text is no evidence any more: too little would be left to judge by."""
    names = ("a.md", "b.md")
    cases = needs("a b " * 10, prompts=names)
    world = World(cases, prompts=[FakePrompt(name) for name in names])
    group = connected_groups(world.prompts, world.cases)[0]
    settings = replace(SETTINGS, examples=16)
    search = RefineSearch(group, world.search_context(group, settings))
    search.start_search()
    results = search.original.evidence(TRAIN)
    shown = usable_examples(results, "b.md")[:8]
    beside = replace(search.original, overlay={"a.md": with_examples(world.prompts[0].prose, shown)})
    for incumbent, sizes in ((search.original, {2, 4, 8}), (beside, {2})):
        drawn = ExampleCandidates(search, ExampleTries()).drawn(1, 1, incumbent, 100)
        assert sizes <= {len(examples_in(each.overlay["b.md"])) for each in drawn if "b.md" in each.prompts}
        assert max(len(shown_by(group.prompts, each.overlay, results)) for each in drawn) <= 10


@pytest.mark.parametrize(
    ("is_chat", "takes_no_examples", "forms"),
    [(True, "", {"turns"}), (False, "", {"block"}), (True, "it is written in str.format", set())],
)
def test_examples_stand_as_the_place_of_the_prompt_lets_them(
    is_chat: bool, takes_no_examples: str, forms: set[str]
) -> None:
    prompt = FakePrompt("a.md", is_chat=is_chat, takes_no_examples=takes_no_examples)
    world = World(needs("a b " * 10, prompts=("a.md",)), prompts=[prompt])
    group = connected_groups(world.prompts, world.cases)[0]
    search = RefineSearch(group, world.search_context(group, replace(SETTINGS, examples=4)))
    search.start_search()
    drawn = ExampleCandidates(search, ExampleTries()).drawn(1, 1, search.original, 100)
    assert {"turns" if "user:" in each.overlay["a.md"] else "block" for each in drawn} == forms


def test_the_sets_of_an_iteration_are_of_different_sizes() -> None:
    prompt = FakePrompt("a.md", prose="Route {{ ticket }}.")
    world = World(needs("a b " * 20, prompts=("a.md",)), prompts=[prompt])
    group = connected_groups(world.prompts, world.cases)[0]
    search = RefineSearch(group, world.search_context(group, replace(SETTINGS, examples=16)))
    search.start_search()
    tries = ExampleTries()
    for sizes in ([8, 4, 12], [2, 16]):
        drawn = ExampleCandidates(search, tries).drawn(1, 1, search.original, len(sizes))
        assert [len(examples_in(each.overlay["a.md"])) for each in drawn] == sizes
        for each in drawn:
            ExampleCandidates(search, tries).note(each, 0.0)


def test_where_instructions_are_long_it_is_tried_out_whether_to_repeat_them() -> None:
    prompt = FakePrompt("a.md", prose="Read it twice, then route it. " * 20 + "\n{{ ticket }}")
    world = World(needs("a b " * 10, prompts=("a.md",)), prompts=[prompt])
    group = connected_groups(world.prompts, world.cases)[0]
    search = RefineSearch(group, world.search_context(group, replace(SETTINGS, examples=16)))
    search.start_search()
    tries = ExampleTries()
    for form in (Form.INPUTS, Form.TURNS):
        (drawn,) = ExampleCandidates(search, tries).drawn(1, 1, search.original, 1)
        assert form_of_examples(drawn.overlay["a.md"]) is form
        ExampleCandidates(search, tries).note(drawn, 0.0)


@pytest.mark.parametrize(("around", "said"), [("Route it. ", 2), ("Read it twice, then route it. " * 20, 1)])
def test_long_instructions_are_not_said_again_with_each_example(around: str, said: int) -> None:
    """Each would be mostly a repetition, which every later call pays for."""
    prompt = FakePrompt("a.md", prose=f"{around}\n{{{{ ticket }}}}")
    world = World(needs("a b " * 10, prompts=("a.md",)), prompts=[prompt])
    group = connected_groups(world.prompts, world.cases)[0]
    search = RefineSearch(group, world.search_context(group, replace(SETTINGS, examples=1)))
    search.start_search()
    (drawn, *_) = ExampleCandidates(search, ExampleTries()).drawn(1, 1, search.original, 1)
    assert drawn.overlay["a.md"].count(around) == said
    assert len(examples_in(drawn.overlay["a.md"])) == 1


def test_a_size_is_that_of_the_prompt_whose_examples_were_drawn() -> None:
    """The other prompt of the pipeline shows eight."""
    world = World([])
    prompts = (FakePrompt("a.md"), FakePrompt("b.md"))
    group = PromptGroup(prompts, ())
    tries = ExampleTries()
    demonstrating = ExampleCandidates(RefineSearch(group, world.search_context(group)), tries)
    eight, four = (
        with_examples("{{ ticket }}", [Example({"ticket": f"{n}"}, "x") for n in range(count)])
        for count in (8, 4)
    )
    demonstrating.note(Candidate("1.1", ("b.md",), "", overlay={"a.md": eight, "b.md": four}), 0.5)
    assert {size: payoff.tries for size, payoff in tries.won.items()} == {(4, Form.TURNS): 1}


def test_a_case_example_is_an_example_for_a_prompt() -> None:
    (example,) = usable_examples([case("a", "x")], "sort.md")
    assert with_examples("{{ message }}", [example]) == with_examples(
        "{{ message }}", [Example({"message": "a"}, "x")]
    )


# ----------------------------------------------------------------------------- whole runs


class Parrot(World):
    """A target that answers what stands in its prompt as an example, and nothing else."""

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        prose = trial.overlay.get("route.md", self.prompts[0].prose)
        (sample,) = trial.samples or (0,)
        known = self.known(examples_in(prose))
        return tuple(
            CaseResult(
                need.record(), (need.run({"route.md": need.rule * (need.id in known)}, sample=sample),)
            )
            for need in self.needs
            if need.id in trial.cases
        )

    def known(self, shown: Sequence[Example]) -> set[str]:
        """The cases that it answers when it was shown these."""
        return {example.inputs["ticket"].split()[0] for example in shown}


class Pupil(Parrot):
    """A target that answers all cases of a label when it was shown one of them."""

    def known(self, shown: Sequence[Example]) -> set[str]:
        labels = {example.answer for example in shown}
        return {need.id for need in self.needs if f"label-{need.rule}" in labels}


def suite(secret: str = "") -> list[Need]:
    return needs("a b " * 12, secret=secret) + needs("a b " * 6, VALIDATION, secret=secret)


def in_text(overlay: Mapping[str, str], world: World) -> set[str]:
    """The cases of a suite that stand in a text as examples."""
    told = {example.inputs["ticket"] for text in overlay.values() for example in examples_in(text)}
    return {need.id for need in world.needs if any(ticket.startswith(f"{need.id} ") for ticket in told)}


@pytest.mark.parametrize("seed", range(3))
def test_a_gain_that_exists_on_examples_only_is_no_gain(seed: int) -> None:
    world = Parrot(suite())
    result = world.result(examples=8, optimizer_model=NO_MODEL, seed=seed)
    tried = [candidate for iteration in result.iterations for candidate in iteration.candidates]
    assert tried
    assert all(candidate.rate is not None and candidate.rate < 0.1 for candidate in tried)
    assert (result.outcome, world.written) == ("unchanged", {})


def test_a_case_that_stands_in_a_text_is_run_and_confirmed_without_its_own_example() -> None:
    world = Pupil(suite())
    result = world.result(examples=4, optimizer_model=NO_MODEL)
    assert (result.outcome, result.written) == ("improved", True)
    shown = in_text(world.written, world)
    assert set(result.examples) == shown
    assert 2 <= len(shown) <= 4
    train, validation = result.scores
    assert (train.cases, train.examples, train.before) == (24, len(shown), 0.0)
    assert (validation.cases, validation.examples) == (12, 0)
    runs = [trial for trials in world.evaluated for trial in trials if trial.overlay]
    assert shown <= {case for trial in runs for case in trial.cases}
    assert not any(in_text(trial.overlay, world) & {*trial.cases} for trial in runs)
    assert world.fresh
    fresh = [trial for trials in world.fresh for trial in trials if trial.overlay]
    assert not any(in_text(trial.overlay, world) & {*trial.cases} for trial in fresh)


def test_examples_that_stood_in_the_prompt_before_are_run_without_their_own() -> None:
    """As they stand they pass, and nothing else does."""
    told: list[tuple[int, int, float | None]] = []
    cases = suite()
    examples = [Example(case.run({"route.md": ""}).calls[0].variables, "x") for case in cases[:6]]
    world = Parrot(
        cases,
        prompts=[FakePrompt(prose=with_examples("Route {{ ticket }}.", examples))],
        hooks=SearchHooks(
            measured=lambda scores: told.extend((s.cases, s.examples, s.before) for s in scores)
        ),
    )
    result = world.result(examples=0, optimizer_model=NO_MODEL)
    assert told == [(24, 6, 0.0), (12, 0, 0.0)]
    assert [(s.cases, s.examples, s.before, s.after) for s in result.scores] == [
        (24, 6, 0.0, 0.0),
        (12, 0, 0.0, 0.0),
    ]
    assert {(label.cases, label.after) for label in result.labels} == {(18, 0)}


class Both(Parrot):
    """A target that answers what stands in its prompt as an example, and follows the rules in its body."""

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        told = super()._results(trial)
        prose = without_examples(trial.overlay.get("route.md", self.prompts[0].prose))
        obeyed = World._results(self, replace(trial, overlay={"route.md": prose}))
        return tuple(one if one.rate else other for one, other in zip(told, obeyed, strict=True))


def test_nor_does_a_heldout_case_read_its_answer_off() -> None:
    """It may have been a training case when an earlier run put it into the file."""
    cases = [*suite(), *needs("a b " * 3, HELDOUT)]
    shown = [Example(case.run({"route.md": ""}).calls[0].variables, "x") for case in cases[-4:]]
    prompt = FakePrompt(prose=with_examples("Route {{ ticket }}.", shown))
    result = Both(cases, ["a b"], prompts=[prompt]).result(examples=0)
    assert result.outcome == "improved"
    assert len(examples_in(result.after)) == 4
    rates = {score.split: (score.before, score.after) for score in result.scores}
    assert rates[HELDOUT] == (0.0, 1.0)


def test_no_text_shows_what_was_taken_out_of_a_case() -> None:
    hooks = SearchHooks(redact=lambda text: text.replace("Jane", "[name]"))
    world = Pupil(suite(secret="by Jane"), hooks=hooks)
    result = world.result(examples=4, optimizer_model=NO_MODEL)
    assert "by [name]" in result.after
    texts = [str(trial.overlay) for trials in world.evaluated for trial in trials]
    assert not any("Jane" in text for text in texts)
    assert len(result.examples) >= 2, "it is known which cases stand there all the same"


class Reader(Pupil):
    """A target that follows the rules of its prompt, and that of label a also when it was shown an example.

    :param rules: what the optimizer writes when it is told of examples in the prompt.
    """

    rules = "b"

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        prose = trial.overlay.get("route.md", self.prompts[0].prose)
        taught = f"a {without_examples(prose)}" if examples_in(prose) else prose
        return World._results(self, replace(trial, overlay={"route.md": taught}))

    def _reply(self, request: Request) -> Answer | ModelError:
        told = "<examples_before_it>" in str(request)
        return answer(self.rules if told else "other words")


def rewritten_after_examples(rules: str, *, left_at_last: int | None = None) -> tuple[PromptResult, bool]:
    """What comes of it, and whether the text was run without its examples.

    :param left_at_last: calls that the ceiling leaves when all rules are found.
    """
    world = Reader(suite())
    world.rules = rules
    ends = f". {rules}"

    def found() -> bool:
        return any(str(t.overlay.get("route.md")).endswith(ends) for ts in world.evaluated for t in ts)

    world.left = lambda: left_at_last if found() else None
    result = world.result(examples=4, max_iterations=8)
    texts = {t.overlay.get("route.md", "") for ts in world.evaluated for t in ts}
    return result, any(text.endswith(ends) and not examples_in(text) for text in texts)


def test_examples_go_again_where_the_text_does_as_well_without_them() -> None:
    """Every call pays for their tokens."""
    result, tried = rewritten_after_examples("a b")
    assert (tried, result.after[-5:]) == (True, ". a b")
    assert (result.outcome, result.examples) == ("improved", ())
    assert [(s.cases, s.examples, s.unverified, s.after) for s in result.scores] == [
        (24, 0, 0, 1.0),
        (12, 0, 0, 1.0),
    ]
    assert result.note == (
        "candidate 2.1 does as well without its examples (0 fixed, 0 broken of 36), so they were taken out"
    )


def test_examples_stay_where_they_pay() -> None:
    result, tried = rewritten_after_examples("b")
    assert (tried, result.outcome, len(result.examples)) == (True, "improved", 4)
    assert [score.after for score in result.scores] == [1.0, 1.0]
    assert not result.note


@pytest.mark.parametrize(("left", "tried"), [(45, False), (90, True)])
def test_that_takes_no_calls_that_are_kept_for_judging(left: int, tried: bool) -> None:
    result, was_tried = rewritten_after_examples("a b", left_at_last=left)
    assert (result.outcome, was_tried) == ("improved", tried)


class ShortOfRoom(Pupil):
    """A target that takes no text of more than so many characters."""

    room = 300

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        if len(trial.overlay.get("route.md", "")) <= self.room:
            return super()._results(trial)
        return tuple(
            CaseResult(
                n.record(), (Outcome(n.id, Status.ERRORED, 0.0, error="it is too long for the model"),)
            )
            for n in self.needs
            if n.id in trial.cases
        )


def test_examples_that_are_too_long_for_the_model_are_not_paid_for_again_and_again() -> None:
    world = ShortOfRoom(suite())
    result = world.result(examples=12, optimizer_model=NO_MODEL, max_iterations=6)
    assert result.outcome == "improved"
    assert len(result.after) <= ShortOfRoom.room
    tried = [each for iteration in result.iterations for each in iteration.candidates]
    why = "no case has an answer with it: it is too long for the model"
    refused = [each for each in tried if each.verdict == "refused" and each.why == why]
    assert refused
    runs = [t for ts in world.evaluated for t in ts if len(t.overlay.get("route.md", "")) > world.room]
    assert sum(len(trial.cases) for trial in runs) <= 6 * len(refused), "a first look at each, and no more"
    sizes = [int(each.direction.split()[1]) for each in refused]
    assert sizes == sorted(sizes, reverse=True), "and then shorter ones"


class Leaning(World):
    """A target that answers "a" to everything when it was shown as many examples for each label.

    It tells the labels apart only where a third of its examples at most are for "a".
    """

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        shown = Counter(e.answer for e in examples_in(trial.overlay.get("route.md", "")))
        found = []
        for need in (need for need in self.needs if need.id in trial.cases):
            tells = shown.total() and 3 * shown["label-a"] <= shown.total()
            said = f"label-{need.rule}" if tells else "label-a" if shown else "Well, that depends."
            found.append(CaseResult(need.record(), (answering(need, said),)))
        return tuple(found)


def answering(need: Need, said: str) -> Outcome:
    expected = f"label-{need.rule}"
    call = Call("route.md", {"ticket": f"{need.id} asks"}, need.id, said, "end_turn", None, None, 0.1, False)
    if said == expected:
        return Outcome(need.id, Status.PASSED, 1.0, calls=(call,), expected=expected)
    failure = Failure("AssertionError", "assert", "test.py:1", "==", expected, said)
    return Outcome(need.id, Status.FAILED, 0.0, failure=failure, calls=(call,), expected=expected)


@pytest.mark.parametrize("seed", range(5))
def test_an_answer_that_comes_too_often_gets_fewer_examples(seed: int) -> None:
    world = Leaning(suite())
    result = world.result(examples=8, optimizer_model=NO_MODEL, seed=seed, max_iterations=2)
    assert result.outcome == "improved"
    assert [score.after for score in result.scores] == [1.0, 1.0]
    shown = Counter(example.answer for example in examples_in(result.after))
    assert 3 * shown["label-a"] <= shown.total() <= 8
    tried = [candidate for iteration in result.iterations for candidate in iteration.candidates]
    made = [c for c in tried if c.direction.endswith('so that "label-a" comes less often.')]
    assert made
    assert all(c.run <= BATCH for c in tried if c not in made), "one batch shows that they say the same"


def test_examples_that_stand_in_the_prompt_stay_where_no_others_are_allowed() -> None:
    shown = tuple(Example({"ticket": f"ticket {n}"}, f"label-{'ab'[n % 2]}") for n in range(8))
    prompt = FakePrompt(prose=with_examples("Route {{ ticket }}.", shown))
    world = Leaning(suite(), lambda request: "Route this: {{ ticket }}.", prompts=[prompt])
    world.result(examples=0)
    texts = [trial.overlay["route.md"] for trials in world.evaluated for trial in trials if trial.overlay]
    assert texts
    assert all(examples_in(text) == shown for text in texts)


def leaning_search(*, prose: str, **settings: Any) -> tuple[RefineSearch, Candidate]:
    """A search, and a candidate with this text that was run on all training cases."""
    world = Leaning(suite())
    group = connected_groups(world.prompts, world.cases)[0]
    context = world.search_context(group, replace(SETTINGS, **{"examples": 8, **settings}))
    search = RefineSearch(group, context)
    search.start_search()
    overlay = {"route.md": prose}
    (results,) = search.evaluate([overlay], group.ids(TRAIN))
    return search, Candidate("1.1", ("route.md",), "", overlay=overlay, results={TRAIN: results})


def shown_cases(*places: int) -> str:
    cases = suite()
    examples = [
        Example(answering(cases[place], "").calls[0].variables, f"label-{cases[place].rule}")
        for place in places
    ]
    return with_examples("Route {{ ticket }}.", examples)


@pytest.mark.parametrize("id", ["1.1", "1.2", "1.3", "1.4", "1.5"])
def test_what_comes_in_are_cases_that_the_text_fails(id: str) -> None:
    """It passes some of label b that it does not show."""
    search, candidate = leaning_search(prose=shown_cases(0, 2, 4, 6, 1, 3, 5, 7))
    cases = suite()
    passing = {cases[place].id: cases[place] for place in range(9, 21, 2)}
    results = tuple(
        replace(result, outcomes=(answering(passing[result.case.id], "label-b"),))
        if result.case.id in passing
        else result
        for result in candidate.results[TRAIN]
    )
    candidate = replace(candidate, id=id, results={TRAIN: results})
    (found,) = search._example_candidates.leaning(candidate)
    made = search._example_candidates.rebalanced("1.6", candidate, *found, 0)
    assert made is not None
    new = in_text(made.overlay, Leaning(suite())) - in_text(candidate.overlay, Leaning(suite()))
    assert new
    assert new <= {cases[place].id for place in (21, 23)}


class Halves(World):
    """A target that is right about every case under a text with "all", else about every second of a label."""

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        text = trial.overlay.get("route.md", "")
        return tuple(
            CaseResult(
                need.record(),
                (answering(need, f"label-{need.rule if 'all' in text or place % 4 < 2 else 'z'}"),),
            )
            for place, need in enumerate(self.needs)
            if need.id in trial.cases
        )


@pytest.mark.parametrize("leader", ["Route all: {{ ticket }}.", "Route {{ ticket }}."])
def test_a_text_made_of_one_that_is_behind_is_run_as_far_as_it_may_be_best(leader: str) -> None:
    """That it may be better than the one it was made of decides nothing."""
    world = Halves(suite())
    group = connected_groups(world.prompts, world.cases)[0]
    search = RefineSearch(group, world.search_context(group, SETTINGS))
    search.start_search()
    iteration = OpenIteration(1, Phase.TRAINING)
    base = search.best.posterior
    assert base is not None
    texts = {"1.1": leader, "1.2": "Sort: {{ ticket }}.", "1.3": "Sort it: {{ ticket }}."}
    ahead, behind, made = (
        Candidate(id, ("route.md",), "", overlay={"route.md": text}) for id, text in texts.items()
    )
    iteration.put(ahead, behind, made)
    search._races.run([ahead, behind], base, iteration)
    best, parent = iteration["1.1"].posterior, iteration["1.2"].posterior
    assert best is not None
    assert parent is not None
    search._races.run([made], parent, iteration, rival=best)
    looked_closer = len(iteration["1.3"].results[TRAIN]) > BATCH
    assert looked_closer is ("all" not in leader)


@pytest.mark.parametrize("whole", [True, False])
def test_what_leans_on_the_validation_cases_only_is_exchanged_in_the_next_set(whole: bool) -> None:
    """On some of them, those that the text before it fails were run: these prove nothing."""
    search, _ = leaning_search(prose="Route {{ ticket }}.")
    needs = {need.id: need for need in suite()}
    results = {
        split: tuple(
            CaseResult(
                needs[id].record(),
                (answering(needs[id], "label-a" if split is VALIDATION else f"label-{needs[id].rule}"),),
            )
            for id in search.group.ids(split)
        )
        for split in (TRAIN, VALIDATION)
    }
    if not whole:
        results[VALIDATION] = results[VALIDATION][1:]
    search.best = EvaluatedCandidate("1.1", {"route.md": shown_cases(0, 2, 4, 6, 1, 3, 5, 7)}, results)
    (first, *_) = search._example_candidates.drawn(2, 1, search.best, 2)
    assert first.direction.endswith('so that "label-a" comes less often.') is whole
    if whole:
        assert not in_text(first.overlay, Leaning(suite())).intersection(search.group.ids(VALIDATION))


def test_the_same_examples_are_not_exchanged_twice_in_the_same_way() -> None:
    search, candidate = leaning_search(prose=shown_cases(0, 2, 4, 6, 1, 3, 5, 7))
    (found,) = search._example_candidates.leaning(candidate)
    made = [search._example_candidates.rebalanced("1.2", candidate, *found, 0) for _ in range(2)]
    assert made[0] is not None
    assert made[1] is None


def test_where_one_prompt_has_nothing_to_exchange_another_one_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search, candidate = leaning_search(prose=shown_cases(0, 2, 4, 6, 1, 3, 5, 7))
    ((prompt, lean),) = search._example_candidates.leaning(candidate)
    other = FakePrompt("reply.md")
    monkeypatch.setattr(ExampleCandidates, "leaning", lambda *_: [(other, lean), (prompt, lean)])
    monkeypatch.setattr(
        ExampleCandidates, "rebalanced", lambda self, id, text, which, *_: text if which is prompt else None
    )
    exchange = search._example_candidates.exchanged("1.2", candidate)
    assert exchange == Exchange(candidate, prompt, lean)


def test_examples_that_somebody_has_edited_are_not_exchanged() -> None:
    """They cannot be read back, so an exchange would lose them."""
    whole = shown_cases(0, 2, 4, 6, 1, 3, 5, 7)
    search, candidate = leaning_search(prose=whole)
    edited = whole.replace("label-b", "{{ ticket }}", 1)
    assert list(search._example_candidates.leaning(candidate))
    assert not list(search._example_candidates.leaning(replace(candidate, overlay={"route.md": edited})))


def test_where_an_exchange_went_too_far_half_as_many_are_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under four examples for each label it says "a", under two and six "b", under three and five both."""
    exchanges: list[tuple[str, int]] = []
    rebalance = ExampleCandidates.rebalanced

    def noted(self: Any, id: str, text: Any, prompt: Any, lean: Lean, halvings: int) -> Candidate | None:
        exchanges.append((lean.spelled, halvings))
        return rebalance(self, id, text, prompt, lean, halvings)

    monkeypatch.setattr(ExampleCandidates, "rebalanced", noted)
    result = Tipping(suite()).result(examples=8, optimizer_model=NO_MODEL, max_iterations=1)
    assert result.outcome == "improved"
    assert exchanges[:2] == [("label-a", 0), ("label-b", 1)]


class Tipping(World):
    """A target that answers "b" as soon as a third of its examples at most are for "a"."""

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        shown = Counter(e.answer for e in examples_in(trial.overlay.get("route.md", "")))
        share = shown["label-a"] / max(1, shown.total())
        found = []
        for need in (need for need in self.needs if need.id in trial.cases):
            said = "label-b" if share <= 0.3 else "label-a" if share >= 0.4 else f"label-{need.rule}"
            found.append(
                CaseResult(need.record(), (answering(need, said if shown else "Well, it depends."),))
            )
        return tuple(found)


def test_rewrites_are_asked_for_anew_once_there_are_examples() -> None:
    """What they won without any tells little."""
    search, _ = leaning_search(prose=shown_cases(0, 1))
    for _ in range(5):
        search._planner.tried(Kind.REWRITE, 0.0)
    few = search.state.ways[Kind.REWRITE].expected
    search._planner.forget_rewrites()
    assert search.state.ways[Kind.REWRITE].expected > 5 * few
