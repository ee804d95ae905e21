"""Failed outcomes in, categories and descriptive feedback out."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from pytest_promptopt.failures.answer_format import strip_wrapping
from pytest_promptopt.failures.categories import Finding, categorize_failure
from pytest_promptopt.failures.explanations import explain_group
from pytest_promptopt.failures.failure_context import FailureContext, failure_context_of
from pytest_promptopt.failures.failure_groups import Background, FailureGroup, Member
from pytest_promptopt.failures.label_vocabulary import LabelVocabulary, PromptBody, closed_set, split_words
from pytest_promptopt.failures.lookalikes import lookalike_symptom
from pytest_promptopt.failures.telling_failures import says_what_is_right
from pytest_promptopt.failures.verdict_lines import verdict_lines
from pytest_promptopt.records import CaseResult, Outcome, StageGrade, Status, function_of
from pytest_promptopt.text import cut_middle, value_text


@dataclass(frozen=True)
class FailedCase:
    """One case that failed, in text.

    :param inputs: variable -> value of the calls in question.
    :param expected: None when the test states no expected value (a constraint, an exception).
    :param actual: what was compared with `expected`; else the answer.
    :param answer: what the prompt in question answered, when something else was compared.
    :param difference: lines that say how they differ, ready to print.
    :param score: from 0 to 1: what a judge gave it, or the share of its samples that passed.
    :param explained: whether the failure says what would have been right.
    :param faults: what is wrong with the tools that the answer calls, in lines.
    :param tools: those that the model could call, a line each.
    :param stage_answer: what the prompt in question answered, where the check is about a later stage.
    :param grade: what the test says of this prompt's stage.
    :param remark: what tells `expected` and `actual` apart where they look the same: to be told with both.
    """

    case: str
    category: str
    inputs: Mapping[str, str]
    expected: str | None
    actual: str
    difference: tuple[str, ...]
    message: str
    answer: str = ""
    remark: str = ""
    score: float = 0.0
    explained: bool = True
    faults: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    stage_answer: str = ""
    grade: StageGrade | None = None


@dataclass(frozen=True)
class Category:
    """All failed cases of one kind, folded.

    :param observed: what these cases have in common, with figures.
    :param examples: up to 3 node ids, of different symptoms where there are any.
    :param cases: the node ids of all of them.
    :param confusion: (expected, actual, count), most frequent first; empty unless labels are confused.
    """

    name: str
    count: int
    observed: str
    examples: tuple[str, ...]
    cause: str
    fix: str
    cases: tuple[str, ...]
    confusion: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True)
class Feedback:
    """What the failures of a set of cases have in common.

    :param total: the cases with a usable answer; errored and skipped ones are left out.
    :param failing: the cases with a failed sample; the counts of `categories` add up to it.
    :param errored: the cases that only errored: they are no evidence and are in no category.
    :param categories: by count, descending.
    :param failed: every failing case, in the order given.
    :param notes: how the tests could tell more about their failures, for their author.
    """

    total: int
    failing: int
    errored: int
    categories: tuple[Category, ...]
    failed: tuple[FailedCase, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def by_case(self) -> Mapping[str, FailedCase]:
        """Every failing case by its id."""
        return {failed.case: failed for failed in self.failed}


#: Something that an application puts into a text, in whatever template language.
_PLACEHOLDER = re.compile(r"\{[^{}\n]*\}|%\(\w+\)|\$\{?\w")

#: A hook's own category for a failed case (whose `category` is the built-in choice), or None to keep that.
Categorize = Callable[[FailedCase], str | None]


def describe(
    results: Sequence[CaseResult],
    *,
    prompt: str | None = None,
    prose: str = "",
    custom: Categorize | None = None,
) -> Feedback:
    """Say what the failures of `results` have in common.

    :param prompt: where cases use several prompts, the one whose calls are the inputs; None means all.
    :param prose: the prompt's current text: causes and fixes say what it states. Empty: not known.
    :param custom: asked for every failed case; its answer wins over the built-in category unless it is None.
    :raises TypeError: `custom` answered something that is neither None nor a name.
    """
    text = _prose(prose, results, prompt)
    failing = [(result, result.failing) for result in results]
    vocabularies = _vocabularies(results, text)
    failed: list[FailedCase] = []
    members: dict[str, list[Member]] = defaultdict(list)
    for result, outcome in failing:
        if outcome is None:
            continue
        subject = failure_context_of(
            outcome, prompt=prompt, prose=text, vocabulary=vocabularies[result.case.prompts]
        )
        subject = replace(subject, case=result.case.id)
        finding = categorize_failure(subject)
        case = _chosen(_failed_case(subject, finding, result), custom)
        failed.append(case)
        members[case.category].append(Member(subject, finding))
    counts, inputs = _word_counts(results, prompt)
    background = Background(text, len(failed), counts, inputs)
    groups = [FailureGroup(name, tuple(group), background, len(group)) for name, group in members.items()]
    return Feedback(
        total=sum(bool(result.counted) for result in results),
        failing=len(failed),
        errored=sum(result.errored for result in results),
        categories=tuple(_category(group) for group in sorted(groups, key=lambda g: -len(g.members))),
        failed=tuple(failed),
        notes=tuple(dict.fromkeys(o.failure.hint for _, o in failing if o and o.failure and o.failure.hint)),
    )


def _prose(text: str, results: Sequence[CaseResult], prompt: str | None) -> PromptBody:
    """The prompt with what every case puts into it; without calls of ours that is not known."""
    calls = [
        call
        for result in results
        for outcome in result.counted[:1]
        for call in outcome.calls
        if prompt is None or call.prompt == prompt
    ]
    if not calls:
        return PromptBody(text, open=_PLACEHOLDER.search(text) is not None)
    first, *others = (call.variables for call in calls)
    given = {
        name: value_text(value)
        for name, value in first.items()
        if others and all(each.get(name) == value for each in others)
    }
    return PromptBody(text, given)


def _category(group: FailureGroup) -> Category:
    explanation = explain_group(group)
    return Category(
        name=group.name,
        count=len(group.members),
        observed=explanation.observed,
        examples=group.examples(),
        cause=explanation.cause,
        fix=explanation.fix,
        cases=tuple(member.subject.case for member in group.members),
        confusion=group.confusion,
    )


def _failed_case(subject: FailureContext, finding: Finding, result: CaseResult) -> FailedCase:
    difference = subject.difference()
    failed = sum(outcome.status is Status.FAILED for outcome in result.outcomes)
    if failed < len(result.counted):
        difference += (f"failed in {failed} of {len(result.counted)} samples",)
    compared = subject.operator == "==" or isinstance(subject.actual, str) or not subject.calls
    actual = cut_middle(value_text(_compared(subject)) if compared else value_text(subject.answer))
    answer = cut_middle(value_text(subject.answer))
    stated = subject.failure.expected if subject.failure.operator == "==" else subject.expected
    return FailedCase(
        case=subject.case,
        category=finding.category,
        faults=finding.told,
        tools=tuple(dict.fromkeys(line for call in subject.calls for line in call.tools)),
        stage_answer=cut_middle(subject.stage_answer or ""),
        grade=subject.grade,
        inputs={name: cut_middle(value) for name, value in subject.inputs.items()},
        expected=None if stated is None and subject.operator != "==" else cut_middle(value_text(stated)),
        actual=actual,
        difference=difference,
        message=cut_middle(_message(subject, answer)),
        answer="" if _says_the_same(answer, actual) else answer,
        remark=_remark(subject),
        score=result.rate or 0.0,
        explained=bool(finding.told) or says_what_is_right(subject),
    )


def _remark(subject: FailureContext) -> str:
    symptom = lookalike_symptom(*subject.texts) if subject.texts else None
    return str(symptom) if symptom else ""


def _message(subject: FailureContext, answer: str) -> str:
    """What the failed check says; a judge's verdict says more than that its score is too low."""
    if subject.verdicts:
        return "; ".join(verdict_lines(subject.verdicts))
    return value_text(_without(answer, subject.message))


def _without(answer: str, message: str) -> str:
    """`message` without a quoted copy of the answer, which stands beside it."""
    for quoted in (repr(answer[:200]), repr(answer)):
        message = message.replace(f": {quoted}", "") if len(answer) > 3 else message
    return message


def _says_the_same(answer: str, actual: str) -> bool:
    """Whether `answer` adds nothing to `actual`: it is empty, the same text or the same JSON value."""
    if answer.strip() in ("", actual.strip()):
        return True
    try:
        one, two = (json.dumps(json.loads(text), sort_keys=True) for text in (answer, actual))
    except (ValueError, RecursionError):
        return False
    return one == two


def _compared(subject: FailureContext) -> object:
    """The side as the test had it: JSON text stays the text that the model wrote."""
    return subject.failure.actual if subject.failure.operator == "==" else subject.actual


def _chosen(case: FailedCase, custom: Categorize | None) -> FailedCase:
    name: object = custom(case) if custom is not None else None
    if name is None:
        return case
    if not isinstance(name, str) or not name.strip():
        raise TypeError(f"a category hook must return a name or None, got {name!r} for {case.case}")
    return replace(case, category=name.strip())


def _vocabularies(results: Sequence[CaseResult], prose: PromptBody) -> dict[tuple[str, ...], LabelVocabulary]:
    """prompts of a case -> the closed set of labels that cases of these prompts expect.

    A passing case is heard when a case of the same test function fails on an expected text. Its answer is no
    label: the test may have cleaned it before it compared.
    """
    pairs: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    functions: set[str] = set()
    for result in results:
        pair = _label_pair(result.failing)
        if pair is not None:
            pairs[result.case.prompts].append(pair)
            functions.add(function_of(result.case.id))
    stated: dict[tuple[str, ...], list[str]] = defaultdict(list)
    unknown: set[tuple[str, ...]] = set()
    for result in results:
        if (
            _label_pair(result.failing) is None
            and result.counted
            and function_of(result.case.id) in functions
        ):
            label = result.counted[0].expected
            if isinstance(label, (str, int, float)) and not isinstance(label, bool):
                stated[result.case.prompts].append(value_text(label).strip())
            elif label is None:
                unknown.add(result.case.prompts)
    prompts = {result.case.prompts for result in results}
    return {key: closed_set(pairs[key], stated[key], prose, complete=key not in unknown) for key in prompts}


def _label_pair(outcome: Outcome | None) -> tuple[str, str] | None:
    failure = outcome.failure if outcome is not None else None
    if failure is None or failure.operator != "==":
        return None
    sides = failure.expected, failure.actual
    if any(isinstance(side, (dict, list, bool, type(None))) for side in sides):
        return None
    return value_text(sides[0]).strip(), strip_wrapping(value_text(sides[1]))[0]


def _word_counts(results: Sequence[CaseResult], prompt: str | None) -> tuple[Counter[str], int]:
    """In how many of the inputs each word occurs, over all cases, and how many inputs there are."""
    counts: Counter[str] = Counter()
    inputs = 0
    for result in results:
        outcome = result.failing or next(iter(result.counted), None)
        if outcome is None or not outcome.calls:
            continue
        calls = [call for call in outcome.calls if call.prompt == prompt] or outcome.calls
        counts.update(
            {
                word
                for call in calls[:1]
                for value in call.variables.values()
                for word in split_words(value_text(value))
            }
        )
        inputs += 1
    return counts, inputs
