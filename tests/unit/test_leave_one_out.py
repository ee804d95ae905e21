"""A case that stands in a text as an example is run under the text without this example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.optimizer.leave_one_out import LeaveOneOutEvaluator
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.prompts.examples import (
    Example,
    Form,
    examples_in,
    has_examples,
    with_examples,
    without_each,
    without_examples,
)
from pytest_promptopt.records import CaseResult, Outcome, Split, Status
from tests.refine_world import FakePrompt, World, needs

BODY = "Route {{ ticket }}."


class Suite(World):
    """Twelve cases of which `shows` gives some as a text with examples."""

    def __init__(self, body: str = BODY) -> None:
        super().__init__(needs("a b " * 6), prompts=[FakePrompt(prose=body)])

    def shows(self, *cases: int) -> str:
        return with_examples(BODY, [Example(self.inputs(case), "x") for case in cases])

    def inputs(self, case: int) -> Mapping[str, str]:
        return self.needs[case].run({"route.md": ""}).calls[0].variables

    def evaluator(self, **given: object) -> LeaveOneOutEvaluator:
        return LeaveOneOutEvaluator(self, self.prompts, **given)  # type: ignore[arg-type]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(case.id for case in self.cases)

    def ran(self) -> list[tuple[str, list[str]]]:  # type: ignore[override]
        """Each trial so far: its text, and its cases."""
        return [
            (trial.overlay.get("route.md", self.prompts[0].prose), list(trial.cases))
            for trials in self.evaluated
            for trial in trials
        ]


def known(suite: Suite) -> LeaveOneOutEvaluator:
    """An evaluator that has seen what the cases ask."""
    evaluator = suite.evaluator()
    evaluator.evaluate([Trial({}, suite.ids)])
    suite.evaluated.clear()
    return evaluator


def test_only_cases_that_stand_in_a_text_are_run_under_another_one() -> None:
    suite = Suite()
    evaluator = known(suite)
    text = suite.shows(2, 5)
    (results,) = evaluator.evaluate([Trial({"route.md": text}, suite.ids)])
    assert [result.case.id for result in results] == list(suite.ids), "in the order that was asked for"
    others = [case for place, case in enumerate(suite.ids) if place not in (2, 5)]
    assert suite.ran() == [
        (text, others),
        (suite.shows(5), [suite.ids[2]]),
        (suite.shows(2), [suite.ids[5]]),
    ]


def test_a_text_that_shows_nothing_else_is_left_without_a_region() -> None:
    suite = Suite()
    evaluator = known(suite)
    evaluator.evaluate([Trial({"route.md": suite.shows(3)}, (suite.ids[3],), samples=(7,))])
    ((trial,),) = suite.fresh
    assert trial == Trial({"route.md": BODY}, (suite.ids[3],), samples=(7,))


def test_a_text_without_examples_is_run_as_it_was_asked_for() -> None:
    suite = Suite()
    evaluator = known(suite)
    asked = [Trial({"route.md": "Sort {{ ticket }}."}, suite.ids), Trial({}, suite.ids[:2])]
    evaluator.evaluate(asked)
    assert suite.evaluated == [asked]


def test_what_the_file_shows_is_left_out_as_soon_as_it_is_known_what_the_cases_ask() -> None:
    suite = Suite(Suite().shows(0, 1))
    evaluator = suite.evaluator()
    results = evaluator.evaluate([Trial({}, suite.ids)])
    assert suite.ran()[1:] == [
        (suite.shows(0, 1), list(suite.ids[2:])),
        (suite.shows(1), [suite.ids[0]]),
        (suite.shows(0), [suite.ids[1]]),
    ]
    assert [result.case.id for result in results[0]] == list(suite.ids)


def test_an_example_is_found_though_something_was_taken_out_of_it() -> None:
    suite = Suite()

    def redact(text: str) -> str:
        return text.replace("ticket", "[word]")

    evaluator = suite.evaluator(redact=redact)
    evaluator.evaluate([Trial({}, suite.ids)])
    suite.evaluated.clear()
    shown = {name: redact(text) for name, text in suite.inputs(4).items()}
    text = with_examples(BODY, [Example(shown, "x")])
    evaluator.evaluate([Trial({"route.md": text}, suite.ids[3:5])])
    assert suite.ran() == [(text, [suite.ids[3]]), (BODY, [suite.ids[4]])]


def test_a_case_that_asked_nothing_is_looked_at_again_later() -> None:
    suite = Suite()
    evaluator = suite.evaluator()
    run, silent = suite.evaluate, suite.ids[1]

    def without_calls(trials: Sequence[Trial]) -> list[tuple[CaseResult, ...]]:
        return [
            tuple(
                replace(r, outcomes=tuple(replace(o, calls=()) for o in r.outcomes))
                if r.case.id == silent
                else r
                for r in results
            )
            for results in run(trials)
        ]

    suite.evaluate = without_calls  # type: ignore[method-assign]
    evaluator.evaluate([Trial({}, suite.ids)])
    suite.evaluate = run  # type: ignore[method-assign]
    evaluator.evaluate([Trial({}, suite.ids)])
    suite.evaluated.clear()
    evaluator.evaluate([Trial({"route.md": suite.shows(1)}, (silent,))])
    assert suite.ran() == [(BODY, [silent])]


def labelled(suite: Suite, *cases: int) -> str:
    """A text that shows these cases with their right answers, a for even numbers and b for odd ones."""
    examples = [Example(suite.inputs(case), f"label-{suite.needs[case].rule}") for case in cases]
    return with_examples(BODY, examples)


def test_another_case_with_the_same_answer_takes_the_place_of_the_example() -> None:
    """With one example less for its own answer a case would be told the other answer more often than any."""
    suite = Suite()
    evaluator = known(suite)
    evaluator.evaluate([Trial({"route.md": labelled(suite, 2, 5, 4)}, suite.ids[4:5])])
    ((text, cases),) = suite.ran()
    before, after = examples_in(labelled(suite, 2, 5, 4)), examples_in(text)
    assert cases == [suite.ids[4]]
    assert after[:2] == before[:2]
    assert after[2].answer == "label-a"
    assert after[2].inputs in [suite.inputs(case) for case in (0, 6, 8, 10)]


def test_it_is_the_same_one_each_time_whatever_is_learned_meanwhile() -> None:
    """Else a text would have results of two other texts, and cases would be paid for twice."""
    suite = Suite()
    evaluator = suite.evaluator()
    # The case that is nearest in length of all is not known yet.
    evaluator.evaluate([Trial({}, (suite.ids[2], suite.ids[5], suite.ids[10], suite.ids[11]))])
    suite.evaluated.clear()
    text = labelled(suite, 2, 5)
    evaluator.evaluate([Trial({"route.md": text}, suite.ids[2:3])])
    evaluator.evaluate([Trial({}, suite.ids)])
    evaluator.evaluate([Trial({"route.md": text}, suite.ids[2:3])])
    first, _, last = suite.ran()
    assert examples_in(first[0])[0].inputs == suite.inputs(10)
    assert first == last


def test_what_takes_its_place_is_not_much_longer_and_has_the_same_inputs() -> None:
    suite = Suite()
    evaluator = known(suite)
    brief = Example({"ticket": "x"}, "label-a")
    other = Example({"mail": suite.inputs(2)["ticket"]}, "label-a")
    shown = suite.inputs(2)
    fitting = Example(shown, "label-a")
    assert evaluator._nearest("route.md", fitting, ()) is not None
    assert evaluator._nearest("route.md", brief, ()) is None
    assert evaluator._nearest("route.md", other, ()) is None


def test_a_twin_of_a_validation_case_does_not_take_its_place() -> None:
    """Where no other one has its answer, it goes without."""
    validation = replace(Suite().needs[0], id="v", split=Split.VALIDATION)
    suite = Suite()
    suite.needs = [suite.needs[0], *suite.needs[1::2], validation]
    ran = suite.evaluate

    def asking_the_same(trials: Sequence[Trial]) -> list[tuple[CaseResult, ...]]:
        twin = suite.needs[0].run({"route.md": ""}).calls[0].variables
        return [
            tuple(
                replace(r, outcomes=tuple(_asking(o, twin) for o in r.outcomes)) if r.case.id == "v" else r
                for r in results
            )
            for results in ran(trials)
        ]

    suite.evaluate = asking_the_same  # type: ignore[method-assign]
    evaluator = suite.evaluator()
    evaluator.evaluate([Trial({}, suite.ids)])
    asked = Example({"ticket": "another one of about that length"}, "label-a")
    assert evaluator._nearest("route.md", asked, ()) is None


def _asking(outcome: Outcome, inputs: Mapping[str, str]) -> Outcome:
    return replace(outcome, calls=tuple(replace(call, variables=inputs) for call in outcome.calls))


def test_where_all_with_its_answer_are_shown_it_goes_without() -> None:
    suite = Suite()
    evaluator = known(suite)
    evaluator.evaluate([Trial({"route.md": labelled(suite, 1, 0, 2, 4, 6, 8, 10)}, suite.ids[:1])])
    assert suite.ran() == [(labelled(suite, 1, 2, 4, 6, 8, 10), [suite.ids[0]])]


class ShortOfRoom(Suite):
    """A target that takes no text as long as one with two examples."""

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        if len(examples_in(trial.overlay.get("route.md", ""))) < 2:
            return super()._results(trial)
        return tuple(
            CaseResult(n.record(), (Outcome(n.id, Status.ERRORED, 0.0, error="it is too long"),))
            for n in self.needs
            if n.id in trial.cases
        )


def test_shorter_texts_say_nothing_of_one_that_has_no_answer_for_any_case() -> None:
    suite = ShortOfRoom()
    evaluator = known(suite)
    text = {"route.md": suite.shows(0, 1)}
    (results,) = evaluator.evaluate([Trial(text, suite.ids[:4])])
    assert {outcome.error for result in results for outcome in result.outcomes} == {"it is too long"}
    (results,) = evaluator.evaluate([Trial({"route.md": suite.shows(0)}, suite.ids[:4])])
    assert not any(result.errored for result in results)


#: Texts of inputs and answers.
_WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cf")), min_size=1, max_size=12)


@given(
    st.lists(st.builds(lambda i, a: Example({"ticket": i}, a), _WORDS, _WORDS), min_size=1, max_size=6),
    st.sampled_from(Form),
    st.data(),
)
def test_without_one_the_others_stand_as_if_it_had_never_been_there(
    examples: list[Example], form: Form, data: st.DataObject
) -> None:
    text = with_examples(BODY, examples, form)
    chosen = data.draw(st.sampled_from(examples))
    left = without_each(text, [("chosen", chosen.inputs)])["chosen"]
    assert without_examples(left) == BODY
    if len(examples_in(text)) == len(examples):
        assert chosen.inputs not in [example.inputs for example in examples_in(left)]
        kept = [example for example in examples if example in examples_in(left)]
        assert left == with_examples(BODY, kept, form)


def test_of_a_region_that_somebody_has_edited_nothing_is_left() -> None:
    text = with_examples(BODY, [Example({"ticket": "one"}, "x"), Example({"ticket": "two"}, "y")], Form.BLOCK)
    edited = text.replace("ticket: two", "about two")
    assert has_examples(edited)
    asked = {case: {"ticket": case} for case in ("one", "three")}
    assert without_each(edited, asked.items()) == {"one": BODY}
