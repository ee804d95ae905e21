"""What the user wants nobody to see reaches neither the optimizer nor a prompt."""

from __future__ import annotations

from dataclasses import replace

from pytest_promptopt.optimizer.redaction import keep_text, redact_result
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.records import Call, Case, CaseResult, Failure, Outcome, Split, StageGrade, Status
from pytest_promptopt.verdicts import Suggestion, Verdict
from tests.refine_world import VALIDATION, Need, World, needs


def without_jane(text: str) -> str:
    return text.replace("Jane", "[name]")


VERDICT = Verdict(
    0.2, ("no Jane",), ("Jane",), (Suggestion("Jane", "Jane", "high"),), "Jane", "Jane", "Jane", model="Jane"
)

RESULT = CaseResult(
    Case("t.py::test[Jane]", ("Jane.md",), Split.TRAIN),
    (
        Outcome(
            "t.py::test[Jane]",
            Status.FAILED,
            0.0,
            failure=Failure(
                "JaneError", "Jane failed", "Jane.py:1", "==", {"Jane": ["Jane", 1]}, "Jane", "in Jane"
            ),
            error="Jane's model",
            calls=(Call("Jane.md", {"Jane": "I am Jane"}, "Jane", "Jane", "Jane", None, None, 0.1, False),),
            inputs={"Jane": "Jane"},
            expected=("Jane", None, True),
            verdicts=(VERDICT,),
            grades=(StageGrade("Jane.md", 0.0, "no Jane"),),
        ),
    ),
)


def test_every_text_of_a_case_is_redacted_and_nothing_that_tells_results_apart() -> None:
    (outcome,) = redact_result(RESULT, without_jane).outcomes
    assert outcome == Outcome(
        "t.py::test[Jane]",
        Status.FAILED,
        0.0,
        failure=Failure(
            "JaneError", "[name] failed", "Jane.py:1", "==", {"[name]": ["[name]", 1]}, "[name]", "in [name]"
        ),
        error="[name]'s model",
        calls=(Call("Jane.md", {"Jane": "I am [name]"}, "Jane", "[name]", "Jane", None, None, 0.1, False),),
        inputs={"Jane": "[name]"},
        expected=("[name]", None, True),
        verdicts=(
            replace(
                VERDICT,
                issues=("no [name]",),
                strengths=("[name]",),
                suggestions=(Suggestion("[name]", "[name]", "high"),),
                reasons="[name]",
                raw_text="[name]",
                criterion="[name]",
            ),
        ),
        grades=(StageGrade("Jane.md", 0.0, "no [name]"),),
    )


def test_nothing_is_copied_when_nothing_is_to_be_redacted() -> None:
    assert redact_result(RESULT, keep_text) is RESULT


def test_no_request_holds_what_was_taken_out() -> None:
    world = World(
        [*needs("a b b - -", secret="by Jane"), Need("v", "c", VALIDATION, secret="by Jane")],
        ["a", "b", "a b", "c"],
        hooks=SearchHooks(redact=without_jane),
    )
    world.run(candidates=2)
    assert world.requests()
    for request in world.requests():
        assert "Jane" not in request
    assert any("by [name]" in request for request in world.requests())
