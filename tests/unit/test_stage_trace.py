"""The way of a case through its stages, in the lines of a terminal and in an optimizer's request."""

from __future__ import annotations

from pytest_promptopt.failures import describe
from pytest_promptopt.optimizer.proposal.requests import Brief, failures_section
from pytest_promptopt.records import Call, Case, CaseResult, Failure, Outcome, Split, StageGrade, Status
from pytest_promptopt.stage_trace import stage_trace, trace_lines
from tests.refine_world import FakePrompt

PROMPTS = ("plan.md", "code.md")
GRADE = StageGrade("plan.md", 0.25, "no step </failures> sorts")


def call(prompt: str, text: str, **variables: str) -> Call:
    return Call(prompt, variables, "", text, "end", None, None, 0.0, False)


CALLS = (call("plan.md", "1. sum", task="Add up\nthe numbers"), call("code.md", "a - b", plan="1. sum"))
FAILURE = Failure("AssertionError", "assert 'a - b' == 'a + b'", "t.py:3", "==", "a + b", "a - b")


def outcome(*calls: Call, grades: tuple[StageGrade, ...] = ()) -> Outcome:
    return Outcome("t", Status.FAILED, 0.0, failure=FAILURE, calls=calls, grades=grades)


class TestTrace:
    def test_each_stage_has_what_went_in_what_came_out_and_its_grade(self) -> None:
        plan, code = stage_trace(outcome(*CALLS, grades=(GRADE,)))
        assert (plan.prompt, plan.inputs, plan.output) == (
            "plan.md",
            {"task": "Add up\nthe numbers"},
            "1. sum",
        )
        assert (plan.calls, plan.grade) == (1, GRADE)
        assert (code.prompt, code.output, code.grade) == ("code.md", "a - b", None)
        assert code.to_json() == {
            "prompt": "code.md",
            "calls": 1,
            "inputs": {"plan": "1. sum"},
            "output": "a - b",
            "grade": None,
            "why": "",
        }

    def test_of_a_stage_that_is_called_several_times_the_last_call_is_shown(self) -> None:
        first, *_ = stage_trace(outcome(*CALLS, call("plan.md", "1. add", task="again")))
        assert (first.prompt, first.calls, first.output) == ("plan.md", 2, "1. add")

    def test_a_single_prompt_is_no_pipeline_unless_it_is_graded(self) -> None:
        assert stage_trace(outcome(CALLS[0], CALLS[0])) == ()
        assert len(stage_trace(outcome(CALLS[0], grades=(GRADE,)))) == 1

    def test_a_stage_may_be_graded_that_made_no_call(self) -> None:
        (stage,) = stage_trace(outcome(grades=(GRADE,)))
        assert (stage.calls, stage.output) == (0, "")
        assert list(trace_lines([stage], 80)) == ["plan.md  0.25  not called (no step </failures> sorts)"]


class TestLines:
    def test_a_line_for_each_stage(self) -> None:
        assert list(trace_lines(stage_trace(outcome(*CALLS, grades=(GRADE,))), 80)) == [
            "plan.md  0.25  Add up the numbers -> 1. sum (no step </failures> sorts)",
            "code.md  -     1. sum -> a - b",
        ]

    def test_no_line_is_wider_than_the_terminal(self) -> None:
        long = [call("prompts/of/a/very/deep/folder/plan.md", "answer " * 50, q="question " * 50), CALLS[1]]
        for width in (40, 80, 120):
            lines = list(trace_lines(stage_trace(outcome(*long)), width))
            assert [len(line) <= width for line in lines] == [True, True]
            assert " -> " in lines[0]

    def test_an_answer_cannot_change_the_terminal(self) -> None:
        (line, _) = trace_lines(stage_trace(outcome(call("a.md", "\x1b[2J", q="x"), CALLS[1])), 80)
        assert "\x1b" not in line


class TestRequests:
    def told(self, prompt: str) -> list[str]:
        result = CaseResult(Case("t", PROMPTS, Split.TRAIN), (outcome(*CALLS, grades=(GRADE,)),))
        feedback = describe([result], prompt=prompt)
        told = Brief(FakePrompt(), "P", "go", 1, 1, feedback.categories, feedback.failed)
        return failures_section(told).splitlines()

    def test_a_stage_is_told_its_own_answer_and_its_own_grade(self) -> None:
        told = self.told("plan.md")
        assert 'answer of this stage: "1. sum"' in told
        (grade,) = [line for line in told if line.startswith("grade of this stage")]
        assert grade.startswith('grade of this stage, from 0 to 1: 0.25, "no step ')
        assert grade.count("</failures>") == 0
        assert not any("own answer, before" in line for line in told)

    def test_no_stage_is_told_the_grade_of_another(self) -> None:
        assert not any("of this stage" in line for line in self.told("code.md"))
