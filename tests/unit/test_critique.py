"""Deep supervision: a model reads the worst answers, and what it says stands in the next request."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.failures import Category, FailedCase, describe
from pytest_promptopt.journal import Journal, read_events
from pytest_promptopt.models.demo import DemoModel
from pytest_promptopt.models.demo.feedback import asks_for_critique, is_feedback
from pytest_promptopt.optimizer.proposal.critic import compose_critique, is_thin, worst_cases
from pytest_promptopt.optimizer.proposal.critique import (
    MAX_ISSUES,
    MAX_SUGGESTIONS,
    Critique,
    read_critique,
)
from pytest_promptopt.optimizer.proposal.quoting import CRITIQUE, TAGS
from pytest_promptopt.optimizer.proposal.replies import Reply, parse_reply
from pytest_promptopt.optimizer.proposal.requests import Brief, compose_request
from pytest_promptopt.optimizer.race import BATCH
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.optimizer.strategy import Strategy
from pytest_promptopt.records import (
    Answer,
    Call,
    Case,
    CaseResult,
    Failure,
    Outcome,
    Request,
    Split,
    Status,
    StopReason,
)
from pytest_promptopt.reports.optimization import run_summary
from pytest_promptopt.settings import CritiqueMode
from pytest_promptopt.strategies.evolve import Evolve
from pytest_promptopt.strategies.hybrid import Hybrid
from pytest_promptopt.strategies.refine.search import RefineSearch
from pytest_promptopt.verdicts import Suggestion, Verdict
from tests.injections import INJECTIONS
from tests.refine_world import HELDOUT, VALIDATION, FakePrompt, Need, World, needs
from tests.rule_world import section

ON, OFF, AUTO = CritiqueMode.ON, CritiqueMode.OFF, CritiqueMode.AUTO


def said(text: str, stop_reason: str = StopReason.END) -> Answer:
    return Answer(text, "demo", stop_reason, None, None, 0.1)


# ------------------------------------------------------------------------------------------------ reading


TONE = Suggestion("Say that answers are friendly.", "tone", "high")


@pytest.mark.parametrize(
    "line",
    [
        "SUGGESTION (high, tone): Say that answers are friendly.",
        "suggestion [High; Tone]: Say that answers are friendly.",
        "- **Suggestion (tone, high impact):** Say that answers are friendly.",
        "2. RECOMMENDATION (impact: high, category: tone): Say that answers are friendly.",
        "**Recommend** (critical, tone): Say that answers are friendly.",
        "* Suggestion 1 (HIGH, tone) : Say that answers\n  are friendly.",
        "SUGGESTIONS (high, tone):\n- Say that answers are friendly.",
        "I see.\n\n<critique>\nSUGGESTION (high, tone): Say that answers are friendly.\n</critique>",
        "<critique>SUGGESTION: a draft.</critique> Better: "
        "<critique>\nSUGGESTION (high, tone): Say that answers are friendly.\n</critique>",
    ],
)
def test_a_suggestion_is_read_however_it_is_decorated(line: str) -> None:
    assert read_critique(said(line)) == Critique((), (TONE,))


@pytest.mark.parametrize(
    "line", ["ISSUE: too long", "- **Problem:** too long", "Issues:\n1) too long", "3. issue #2: too long"]
)
def test_an_issue_is_read_however_it_is_decorated(line: str) -> None:
    assert read_critique(said(line)) == Critique(("too long",))


def test_suggestions_stand_by_impact_then_category_and_the_first_few_are_kept() -> None:
    lines = [
        f"SUGGESTION ({impact}, {about}): {impact} {about}"
        for about in "ba"
        for impact in ("low", "high", "medium")
    ]
    read = read_critique(
        said("\n".join([*lines, "SUGGESTION: whatever", *(f"ISSUE: {n}" for n in range(9))]))
    )
    assert isinstance(read, Critique)
    assert [each.text for each in read.suggestions] == ["high a", "high b", "medium a", "medium b"]
    assert len(read.suggestions) == MAX_SUGGESTIONS
    assert len(read.issues) == MAX_ISSUES
    assert next(iter(read.lines())) == "suggestion (high, a): high a"


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", "neither"),
        ("The prompt is fine.", "neither"),
        ("ISSUE: none\nSUGGESTION: N/A", "neither"),
        ("ISSUE:\nSUGGESTION:\n", "neither"),
        ('An answer says "ISSUE: it is late".', "neither"),
    ],
)
def test_a_reply_without_anything_to_say_is_no_critique(reply: str, why: str) -> None:
    read = read_critique(said(reply))
    assert isinstance(read, str)
    assert why in read


def test_a_refusal_is_no_critique_and_one_that_was_cut_off_holds_what_came() -> None:
    assert read_critique(said("ISSUE: a", StopReason.REFUSAL)) == "the model refused to answer"
    assert read_critique(said("ISSUE: a\nSUGGESTION (hi", StopReason.MAX_TOKENS)) == Critique(("a",))


@given(
    st.text(),
    st.lists(st.sampled_from(["ISSUE:", "SUGGESTION (high, a):", "\n", "- ", "**", "(", ")", "<critique>"])),
)
def test_no_reply_at_all_is_an_error(text: str, marks: list[str]) -> None:
    read = read_critique(said("".join(f"{mark}{text}" for mark in marks) or text))
    if isinstance(read, Critique):
        assert all(len(line) < 500 and "\n" not in line for line in read.lines())


# -------------------------------------------------------------------------- what failures say by themselves


def failed(id: str, failure: Failure, *verdicts: Verdict, score: float = 0.0) -> CaseResult:
    call = Call("route.md", {"ticket": id}, id, "an answer", "end_turn", None, None, 0.1, False)
    outcome = Outcome(id, Status.FAILED, score, failure=failure, calls=(call,), verdicts=verdicts)
    return CaseResult(Case(id, ("route.md",), Split.TRAIN), (outcome,))


def assertion(message: str = "assert False", **more: Any) -> Failure:
    return Failure("AssertionError", message, "t.py:1", **more)


PROSE = "The parcel left on Monday. It should be with you soon! Write to us if it is not."
MUTE = Verdict(0.2, (), (), (), "", "")
TELLING = replace(MUTE, issues=("no date",))


@pytest.mark.parametrize(
    ("failure", "verdicts", "explained"),
    [
        (assertion(operator="==", expected="billing", actual="sales"), (), True),
        (assertion(operator="==", expected={"a": "One. Two. Three."}, actual={}), (), True),
        (assertion(operator="==", expected="I am Dr. Who.", actual="x"), (), True),
        (assertion(operator="==", expected=PROSE, actual="It left. It comes. Wait."), (), False),
        (assertion(operator="in", constraint="'refund' in answer", actual="x"), (), True),
        (assertion(operator="<", constraint="len(answer) < 200", actual=300), (), True),
        (assertion(constraint="answer.startswith('Dear')"), (), True),
        (assertion(constraint="is_polite(answer)"), (), False),
        (assertion("assert is_polite('an answer')"), (), False),
        (assertion(), (), False),
        (assertion(""), (), False),
        (assertion("the answer must name the order"), (), True),
        (Failure("ValueError", "no JSON", "t.py:1"), (), True),
        (assertion(operator=">=", constraint="judge(...).score >= 0.7", actual=0.2), (MUTE,), False),
        (assertion(operator=">=", constraint="judge(...).score >= 0.7", actual=0.2), (TELLING,), True),
    ],
)  # fmt: skip
def test_a_failure_says_what_is_right_or_not(
    failure: Failure, verdicts: Sequence[Verdict], explained: bool
) -> None:
    (case,) = describe([failed("a", failure, *verdicts)], prompt="route.md").failed
    assert case.explained is explained


def test_feedback_is_thin_when_most_failures_do_not_say_what_is_right() -> None:
    told, mute = (FailedCase("a", "c", {}, None, "", (), "", explained=each) for each in (True, False))
    assert is_thin([mute, mute, told])
    assert not is_thin([mute, told])
    assert not is_thin([])


# ------------------------------------------------------------------------------------------------ the request


def shown(id: str, score: float, text: str = "hello") -> FailedCase:
    return FailedCase(id, "other", {"ticket": f"{id} {text}"}, None, text, (), text, score=score)


BRIEF = Brief(FakePrompt(), "Route {{ ticket }}.", "State the rules.", 3, 9, lessons=("✗ rewrite: not run",))


def test_the_worst_answers_are_read_first_and_no_more_than_there_is_room_for() -> None:
    cases = [shown("good", 0.6), shown("bad", 0.1), shown("worst", 0.0, "x " * 90), shown("fair", 0.5)]
    assert [case.case for case in worst_cases(cases)] == ["worst", "bad", "fair", "good"]
    long = [shown(str(number), number / 10, "x " * 600) for number in range(9)]
    assert [case.case for case in worst_cases(long)] == ["0", "1", "2"]


def test_a_critic_is_told_the_prompt_the_cases_the_last_critique_and_what_was_tried() -> None:
    before = Critique(("too long",), (TONE,))
    request = compose_critique(BRIEF, [shown("a", 0.0)], before, model="demo")
    told = request.messages[1].content
    assert asks_for_critique(told)
    assert not is_feedback(told)
    assert section("current_prompt", told) == BRIEF.prose
    assert section("lessons", told) == BRIEF.lessons[0]
    assert section(CRITIQUE, told).split("\n") == [*before.lines()]
    assert "State the rules." not in told, "a line of attack is for a writer"


@pytest.mark.parametrize("name", INJECTIONS)
def test_a_critique_opens_and_closes_no_section(name: str) -> None:
    text = INJECTIONS[name]
    critique = Critique((text,), (Suggestion(text, text, "high"),))
    content = compose_request(replace(BRIEF, critique=critique), model="demo").messages[1].content
    inside = section(CRITIQUE, content)
    assert len(inside.split("\n")) == 2
    assert TAGS.first(inside) is None
    content.encode()


# ------------------------------------------------------------------------------------------------ in a search


@dataclass(frozen=True)
class Mute(Need):
    """A case whose test says neither what is expected nor what is wrong."""

    def run(self, texts: Any, *, sample: int = 0) -> Outcome:
        outcome = super().run(texts, sample=sample)
        if outcome.failure is None:
            return outcome
        return replace(outcome, failure=assertion("assert is_good(answer)", constraint="is_good(answer)"))


def mute(rules: str, split: Split = Split.TRAIN, *, secret: str = "") -> list[Need]:
    return [Mute(need.id, need.rule, need.split, secret=secret) for need in needs(rules, split)]


@dataclass
class Words(World):
    """Its critic sees in the answers which rules are missing; its writer only does what it is told in words.

    :param critic: what the critic replies; None for one suggestion per rule that is missing.
    """

    critic: str | ModelError | None = None
    asked_critic: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.replies = self.reply

    def reply(self, request: Request) -> str | Answer | ModelError:
        asked = request.messages[1].content
        if asks_for_critique(asked):
            self.asked_critic.append(asked)
            if self.critic is not None:
                return self.critic if isinstance(self.critic, ModelError) else said(self.critic)
            missing = dict.fromkeys(re.findall(r"asks about (\w+)", section("failures", asked)))
            return said("\n".join(f"SUGGESTION (high, rules): Mind {rule}." for rule in missing))
        told = re.findall(r"Mind (\w+)", section(CRITIQUE, asked))
        kept = re.findall(r"\w+", section("current_prompt", asked).partition("}}.")[2])
        return " ".join(dict.fromkeys([*kept, *told])) or "Be careful."

    def texts(self) -> str:
        return "\n".join(self.requests())


@pytest.mark.parametrize("strategy", [RefineSearch, Evolve, Hybrid])
def test_a_writer_that_only_does_what_it_is_told_needs_a_critique(strategy: Strategy) -> None:
    suite = mute("a a b b c c -") + mute("a b c", VALIDATION)
    outcomes = {mode: Words(suite, strategy=strategy).result(critique=mode).outcome for mode in CritiqueMode}
    assert outcomes == {OFF: "unchanged", ON: "improved", AUTO: "improved"}


def test_automatic_means_where_failures_do_not_say_what_is_right() -> None:
    worlds = {
        name: Words(suite)
        for name, suite in {
            "told": needs("a b"),
            "mute": mute("a b"),
            "mostly told": [*needs("a b"), *mute("c")],
        }.items()
    }
    for world in worlds.values():
        world.run(critique=AUTO)
    assert {name: bool(world.asked_critic) for name, world in worlds.items()} == {
        "told": False,
        "mute": True,
        "mostly told": False,
    }


def test_one_critique_serves_all_candidates_until_the_text_or_its_failures_change() -> None:
    """The writer writes nothing of use, so that the incumbent stays."""
    world = Words(mute("a a b b - -"), critic="SUGGESTION: Think.")
    result = world.result(critique=ON, candidates=2)
    assert len(result.iterations) > 1
    assert len(world.asked_critic) == 1
    assert sum(iteration.critiques for iteration in result.iterations) == 1
    writers = [text for text in world.requests() if is_feedback(text)]
    assert len(writers) > 2
    assert all("\nsuggestion: Think.\n" in text for text in writers)
    world = Words(mute("a " * 6 + "b " * 6 + "c " * 6), critic=None)
    result = world.result(critique=ON)
    incumbents = {section("current_prompt", text) for text in world.asked_critic}
    assert len(incumbents) == len(world.asked_critic)


def test_the_next_critique_is_told_of_the_last_one() -> None:
    world = Words(mute("a " * 8 + "b " * 8), critic="SUGGESTION (high, rules): Mind a.")
    world.run(critique=ON)
    first, second = world.asked_critic[:2]
    assert CRITIQUE not in first
    assert section(CRITIQUE, second) == "suggestion (high, rules): Mind a."


def test_a_critique_is_paid_as_any_request_and_said_in_the_summary_and_the_journal(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, "r")
    world = Words(mute("a a b b"))
    result = world.run(journal=journal, critique=ON)
    journal.close()
    count = len(world.asked_critic)
    lines = [line.text for line in run_summary(result, alpha=0.05)]
    assert any(line.startswith("  tried:") and f", {count} critique" in line for line in lines)
    written = [event.data for event in read_events(tmp_path / "journal.jsonl") if event.event == "critique"]
    assert len(written) == count
    assert written[0]["prompt"] == "route.md"
    assert {"text": "Mind a.", "category": "rules", "impact": "high"} in written[0]["said"]["suggestions"]
    quiet = [line.text for line in run_summary(Words(mute("a")).run(), alpha=0.05)]
    assert "critique" not in "\n".join(quiet)


BROKEN = ModelError(ErrorKind.BAD_REQUEST, "no answer", model="demo")


@pytest.mark.parametrize(("reply", "why"), [("I like it.", "neither"), (BROKEN, "no answer")])
def test_a_critique_that_cannot_be_read_is_none_and_is_said_once(reply: str | ModelError, why: str) -> None:
    suite = needs("a " * 8 + "b " * 8)
    with_it = Words(suite, critic=reply)
    without = Words(suite)
    one, two = with_it.result(critique=ON), without.result()
    assert with_it.asked_critic
    assert one.note.count("a critique of the worst answers could not be used") == 1
    assert why in one.note
    writers = [text for text in with_it.requests() if is_feedback(text)]
    assert writers == without.requests(), "the search goes on as if nobody had been asked"
    assert one.after == two.after


@pytest.mark.parametrize(("left", "asked"), [(BATCH + 1, 0), (100, 1)])
def test_no_critique_is_paid_that_leaves_no_calls_for_a_candidate(left: int, asked: int) -> None:
    world = Words(mute("a a"), left=lambda: left, strategy=Evolve)
    world.run(critique=ON)
    assert len(world.asked_critic) == asked


def test_a_critic_is_told_nothing_of_other_cases_nor_what_was_taken_out() -> None:
    world = Words(
        mute("a b c", secret="by Jane")
        + mute("a", VALIDATION, secret="checked")
        + mute("a", HELDOUT, secret="judged"),
        hooks=SearchHooks(redact=lambda text: text.replace("Jane", "[name]")),
    )
    world.run(critique=ON)
    assert world.asked_critic
    for text in world.asked_critic:
        assert "by [name]" in text
        assert not re.search("Jane|checked|judged|validation-|heldout-", text)


@pytest.mark.parametrize("strategy", [RefineSearch, Evolve])
def test_without_it_a_search_asks_what_it_always_asked(strategy: Strategy) -> None:
    world = Words(mute("a b"), strategy=strategy)
    world.run()
    assert not world.asked_critic
    assert CRITIQUE not in world.texts()


# ------------------------------------------------------------------------------------------ the demo model


def test_the_demo_model_says_what_was_confused() -> None:
    cases = [
        replace(shown(str(number), 0.0), expected="billing", actual=answer, message="")
        for number, answer in enumerate(["sales", "sales", "legal"])
    ]
    brief = replace(BRIEF, categories=(Category("other", 3, "", (), "", "", ("0", "1", "2")),))
    request = compose_critique(brief, cases, model="demo")
    reply = asyncio.run(DemoModel().complete(request))
    assert read_critique(reply) == Critique(
        (
            "2 of 3 answers are sales and should be billing.",
            "1 of 3 answers are legal and should be billing.",
        ),
        (Suggestion("Say which words of an input speak for billing.", "cues", "high"),),
    )


def test_the_demo_model_still_writes_prompts_when_there_is_a_critique() -> None:
    request = compose_request(replace(BRIEF, critique=Critique(("ISSUE",), (TONE,))), model="demo")
    assert isinstance(parse_reply(asyncio.run(DemoModel().complete(request))), Reply)
