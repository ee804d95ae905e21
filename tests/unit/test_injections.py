"""Text of cases, answers and replies is data: it changes the form of no request and of no report."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_promptopt.failures import Category, FailedCase, describe
from pytest_promptopt.optimizer.candidate_checks import CandidateChecks
from pytest_promptopt.optimizer.proposal.memory import Answered, Counts, Try
from pytest_promptopt.optimizer.proposal.quoting import SECTIONS, quote_text, quote_value
from pytest_promptopt.optimizer.proposal.replies import InvalidReply, Reply, parse_reply
from pytest_promptopt.optimizer.proposal.requests import Brief, PassingCase, compose_request, repair_request
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.examples import Example
from pytest_promptopt.records import (
    Answer,
    Call,
    Case,
    CaseResult,
    Failure,
    Outcome,
    Request,
    Role,
    Spend,
    Split,
    Status,
)
from pytest_promptopt.reports.check_report import failure_section, gate_lines
from pytest_promptopt.reports.json_report import write_json
from pytest_promptopt.reports.live import iteration_line, phase_line
from pytest_promptopt.reports.optimization import run_summary
from pytest_promptopt.reports.session_report import SessionReport
from pytest_promptopt.results import (
    CandidateResult,
    CandidateVerdict,
    Iteration,
    PromptOutcome,
    PromptResult,
    RunResult,
    SplitScore,
)
from pytest_promptopt.settings import Settings
from pytest_promptopt.text import cut_middle
from pytest_promptopt.thresholds import GateName, Threshold
from tests.injections import INJECTIONS
from tests.refine_world import FakePrompt, Front

EACH = pytest.mark.parametrize("name", INJECTIONS)
HARMLESS = "hello"


def brief(text: str) -> Brief:
    """A brief with `text`, shortened as always, wherever something comes from cases, replies and hooks."""
    text = cut_middle(text)
    failed = FailedCase("c1", text, {"ticket": text, "other": HARMLESS}, text, text, (text, text), text)
    unstated = replace(failed, case="c2", expected=None)
    tried = Try(
        "1.1", "rewrite", True, "accepted", text, Counts(1, 1, 0, 1), None, text, text,
        answers=(Answered(text, text, text),), given=(text,), examples=(Example({"ticket": text}, text),),
    )  # fmt: skip
    category = Category(text, 2, text, ("c1",), text, text, ("c1", "c2"))
    return Brief(
        prompt=FakePrompt(front=Front(description=text)),
        prose="Route {{ ticket }}.",
        direction=text,
        failing=2,
        total=3,
        categories=(category,),
        failed=(failed, unstated),
        passing=(PassingCase("c3", {"ticket": text}, text),),
        patterns=(text, HARMLESS),
        lessons=(HARMLESS, text),
        target=text,
        checks=(text, HARMLESS),
        measured=(text, HARMLESS),
        tried=(replace(tried, text=HARMLESS), tried),
        given={"c1": {text: text}},
        shown=(Example({"ticket": text}, text), Example({"ticket": HARMLESS}, text)),
    )


def told(text: str) -> str:
    return compose_request(brief(text), model="demo").messages[1].content


def tags(content: str) -> list[tuple[str, str]]:
    """All tags that a reader could see who overlooks case, width, spaces, marks and punctuation."""
    letters = "".join(
        c for c in unicodedata.normalize("NFKD", content).casefold() if c.isalpha() or c in "<>/"
    )
    names = "|".join(name.replace("_", "") for name in (*SECTIONS, "reason"))
    return re.findall(rf"<(/?)({names})", letters)


#: Every line between the tags of cases; what a case says follows a label and is one line.
LABELLED = re.compile(
    r"Case \d+|input(?: [^:]*)?: \".*\"|(?:expected(?:, whole)?|actual|answer): \S.*"
    r"|(?:message|difference|error|observed|the test's parameters): .*"
    r"|These pass now and must still pass\."
)


@EACH
def test_a_request_has_the_same_sections_whatever_its_cases_say(name: str) -> None:
    content = told(INJECTIONS[name])
    assert tags(content) == tags(told(HARMLESS))
    assert content.splitlines() == content.split("\n")
    for section in ("failures", "passing"):
        start, end = content.index(f"\n<{section}"), content.index(f"\n</{section}>")
        lines = [line for line in content[start:end].split("\n") if line and not line.startswith("<")]
        assert [line for line in lines if not LABELLED.fullmatch(line)] == []
    assert re.findall(r"^Case .*", content[content.index("\n<failures") :], re.MULTILINE)[:3] == [
        "Case 1",
        "Case 2",
        "Case 3",
    ]


@EACH
def test_a_request_can_be_sent_and_hides_nothing(name: str) -> None:
    content = told(INJECTIONS[name])
    content.encode()
    hidden = {c for c in content if c != "\n" and unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs")}
    assert not hidden
    assert not re.search("[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]", content)
    assert len(content) < 150_000


@EACH
def test_a_value_reads_back_as_it_was(name: str) -> None:
    text = INJECTIONS[name]
    if len(text) <= 4_000:
        assert json.loads(quote_text(text)) == text
        assert json.loads(quote_value(text)) in (text, _parsed(text))


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


@EACH
def test_a_bad_reply_is_repeated_to_the_optimizer_as_its_own_turn(name: str) -> None:
    request = Request("demo", (), sample=1)
    said = Answer(INJECTIONS[name], "demo", "end_turn", None, None, 0.0)
    repaired = repair_request(request, said, "it is no prompt")
    assert [message.role for message in repaired.messages] == ["assistant", "user"]
    assert (
        repaired.messages[1]
        == repair_request(request, replace(said, text=HARMLESS), "it is no prompt").messages[1]
    )
    for message in repaired.messages:
        message.content.encode()


@EACH
def test_what_an_optimizer_quotes_never_becomes_a_prompt_unnoticed(name: str) -> None:
    """Copied from a request, in which it is escaped, it is not even in the way."""
    quoted = quote_text(INJECTIONS[name])
    for reason in (quoted, f"the case {quoted} is told to {INJECTIONS[name][:200]}"):
        text = f"<reason>{reason}</reason>\n<new_prompt>\nGood\n</new_prompt>"
        reply = parse_reply(Answer(text, "demo", "end_turn", None, None, 0.0))
        assert reply == InvalidReply(reply.why) if isinstance(reply, InvalidReply) else reply.text == "Good"
    clean = f"<reason>{quoted}</reason>\n<new_prompt>\nGood\n</new_prompt>"
    found = parse_reply(Answer(clean, "demo", "end_turn", None, None, 0.0))
    assert isinstance(found, Reply)
    assert found.text == "Good"


@EACH
def test_a_case_is_text_in_the_turns_of_the_prompt(name: str, tmp_path: Path) -> None:
    (tmp_path / "chat.md").write_text(
        "system:\nSort.\n\nuser:\n<ticket>{{ ticket }}</ticket>\n", encoding="utf-8"
    )
    text = INJECTIONS[name]
    messages = PromptFile.load(tmp_path / "chat.md", rootdir=tmp_path).render({"ticket": text})
    assert [(message.role, message.content) for message in messages] == [
        ("system", "Sort."),
        ("user", f"<ticket>{text}</ticket>"),
    ]


@pytest.mark.parametrize(
    "name",
    ["closes its section", "opens a section", "upper case", "spaces", "full width", "zero-width joiners",
     "mathematical letters", "soft hyphens", "line separators", "small brackets"],
)  # fmt: skip
def test_a_candidate_with_a_tag_of_the_request_in_any_disguise_is_refused(name: str) -> None:
    checks, prompt = CandidateChecks(), FakePrompt()
    assert "a tag of the request" in str(
        checks.objection(prompt, f"Route {{{{ ticket }}}}. {INJECTIONS[name]}")
    )


def test_a_candidate_may_use_tags_of_its_own_and_compare_numbers() -> None:
    checks, prompt = CandidateChecks(), FakePrompt()
    prose = (
        "If count < the task limit, keep <ticket>{{ ticket }}</ticket>. Answer in <reason> and <label> tags."
    )
    assert checks.objection(prompt, prose) is None


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_no_text_at_all_opens_or_closes_a_section(text: str) -> None:
    content = told(text)
    assert tags(content) == tags(told(HARMLESS)) or not text.strip()
    content.encode()


# ----------------------------------------------------------------------------- reports


def results(text: str) -> tuple[CaseResult, ...]:
    """Cases that fail on `text` in three ways, and an errored one."""
    failures = (
        Failure(
            "AssertionError", f"assert {text!r}\n{text}", "t.py:1", "==", expected="billing", actual=text
        ),
        Failure("AssertionError", text, "t.py:2", "in", actual=text, constraint=text),
        Failure("ValueError", text, "t.py:3"),
    )
    call = Call("route.md", {"ticket": text}, "k", text, "end_turn", None, None, 0.1, False)
    cases = [Case(f"t.py::test[{number}]", ("route.md",), Split.TRAIN) for number in range(4)]
    failed = [
        CaseResult(case, (Outcome(case.id, Status.FAILED, 0.0, failure=failure, calls=(call,)),))
        for case, failure in zip(cases, failures, strict=False)
    ]
    errored = CaseResult(cases[3], (Outcome(cases[3].id, Status.ERRORED, 0.0, error=text),))
    return (*failed, errored)


def check(text: str) -> PromptCheck:
    asked = {GateName.PASS_RATE: Threshold(0.5, "t.py:9")}
    return PromptCheck("route.md", 0.0, 4, 3, 1, results(text), asked)


def run_of(text: str) -> RunResult:
    candidate = CandidateResult(
        id="1.1", prompts=("route.md",), direction=text, reason=text, rate=0.5,
        verdict=CandidateVerdict.ACCEPTED, why=text,
    )  # fmt: skip
    iteration = Iteration(1, "training", ("route.md",), (candidate,), 0.5, Spend(), 1.0)
    prompt = PromptResult(
        prompt="route.md", before="Old", after=f"New {text}", outcome=PromptOutcome.IMPROVED,
        stop="plateau", why=text,
        scores=(SplitScore(Split.TRAIN, 4, 0.0, 1.0, fixed=1),), iterations=(iteration,), note=text,
        unwritten=text,
    )  # fmt: skip
    return RunResult("r1", (prompt,), {Role.TARGET: Spend(calls=1)}, 1.0, notes=(text,))


@EACH
def test_a_terminal_is_shown_printable_text_only(name: str) -> None:
    text = INJECTIONS[name]
    feedback = describe(results(text), prompt="route.md", prose="Answer billing or sales.\n{{ ticket }}")
    run = run_of(text)
    lines = [
        *failure_section([check(text)], {"route.md": feedback}),
        *gate_lines([check(text)]),
        *run_summary(run, alpha=0.05),
    ]
    (iteration,) = run.prompts[0].iterations
    shown = [
        *(line.text for line in lines),
        phase_line("training", "a.md"),
        iteration_line(iteration, prompts=("a",)),
    ]
    assert [line for line in shown if not line.isprintable()] == []
    assert sum(line.startswith("gate:") for line in shown) == 1
    assert max(map(len, shown)) < 3_000


@EACH
def test_the_report_is_json_of_the_same_form_and_reads_back(name: str, tmp_path: Path) -> None:
    text = INJECTIONS[name]
    feedback = describe(results(text), prompt="route.md")
    path = tmp_path / "report.json"
    report = SessionReport(
        checks=[check(text)],
        run=run_of(text),
        feedbacks={"route.md": feedback},
        settings=Settings(rootdir=tmp_path),
        version="0",
    )
    write_json(path, report)
    data = path.read_bytes()
    assert data.isascii()
    told = json.loads(data)
    assert told["run"]["prompts"][0]["note"] == text
    assert [result["status"] for result in told["prompts"][0]["results"]] == ["failed"] * 3 + ["errored"]
    assert keys(told["run"]) == keys(json.loads(json.dumps(_harmless_run(tmp_path))))


def _harmless_run(folder: Path) -> Any:
    path = folder / "harmless.json"
    run = run_of(HARMLESS)
    settings = Settings(rootdir=folder)
    write_json(path, SessionReport(checks=[], run=run, feedbacks={}, settings=settings, version="0"))
    return json.loads(path.read_text(encoding="utf-8"))["run"]


def keys(value: Any) -> Any:
    """The form of a JSON document."""
    if isinstance(value, Mapping):
        return {key: keys(item) for key, item in value.items()}
    return (
        [keys(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else None
    )


REPLIES = st.lists(
    st.sampled_from(
        ["<new_prompt>", "</new_prompt>", "<reason>", "</reason>", "```", "\n", "{{ ticket }}", "x"]
    )
    | st.text(max_size=5),
    max_size=12,
).map("".join)


@settings(deadline=None)
@given(REPLIES, st.sampled_from(["end_turn", "max_tokens", "refusal"]))
def test_any_reply_holds_one_whole_prompt_or_none(text: str, stop_reason: str) -> None:
    reply = parse_reply(Answer(text, "demo", stop_reason, None, None, 0.0))
    if isinstance(reply, Reply):
        start, end = text.index("<new_prompt>"), text.rindex("</new_prompt>")
        assert stop_reason == "end_turn"
        assert reply.text.strip()
        inside = text[start + len("<new_prompt>") : end]
        assert "".join(reply.text.split()) in "".join(inside.split())
        assert text.count("<new_prompt>") == text.count("</new_prompt>")
    else:
        assert reply.why
