"""What the rooms say to each other: frozen records without behaviour of their own.

Everything here is plain data (JSON-like inside), so that it crosses threads, xdist channels and files
unchanged.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from enum import StrEnum
from json import loads
from math import fsum
from typing import Any

from pytest_promptopt.records.chat import ANSWER_SCHEMA as ANSWER_SCHEMA
from pytest_promptopt.records.chat import LENGTH_NAMES as LENGTH_NAMES
from pytest_promptopt.records.chat import SPELLED as SPELLED
from pytest_promptopt.records.chat import Answer as Answer
from pytest_promptopt.records.chat import Message as Message
from pytest_promptopt.records.chat import Request as Request
from pytest_promptopt.records.chat import StopReason as StopReason
from pytest_promptopt.records.chat import Usage as Usage
from pytest_promptopt.records.content import ToolCall, written_calls
from pytest_promptopt.records.grades import StageGrade as StageGrade
from pytest_promptopt.verdicts import Verdict

#: prompt path -> candidate prose (the file without its front matter). Empty: the files as they are on disk.
Overlay = Mapping[str, str]


class Split(StrEnum):
    """Which step of the search may see a case."""

    TRAIN = "train"
    VALIDATION = "validation"
    HELDOUT = "heldout"

    @property
    def strictness(self) -> int:
        """Higher is stricter; cases that ask the same share the strictest split."""
        return list(Split).index(self)


class Status(StrEnum):
    """How one run of a case ended. ERRORED (no usable answer) is in no rate's numerator or denominator."""

    PASSED = "passed"
    FAILED = "failed"
    ERRORED = "errored"
    SKIPPED = "skipped"


class Role(StrEnum):
    """What a model call is for."""

    TARGET = "target"
    OPTIMIZER = "optimizer"
    JUDGE = "judge"
    EMBEDDING = "embedding"


@dataclass(frozen=True)
class Call:
    """One use of a prompt inside a run of a case.

    :param variables: what the test gave, as strings: the prompt's variables, and the contents of
        ``messages=`` by role; empty for the calls of a judge that is not under test itself.
    :param text: of the answer; of one that only calls tools, the calls as JSON.
    :param cached: the answer came from the cache, not from a call paid in this run.
    :param tools: those that the model could call, a line each: ``look_up(city: string)``.
    :param files: the images and documents that went along, by name, type and size.
    :param embeds: it has given the embedding of a text, which is the same every time.
    """

    prompt: str
    variables: Mapping[str, str]
    key: str
    text: str
    stop_reason: str
    usage: Usage | None
    cost: float | None
    latency: float
    cached: bool
    tool_calls: tuple[ToolCall, ...] = ()
    tools: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    embeds: bool = False

    @property
    def only_calls(self) -> bool:
        """Whether the answer has no text of its own, only calls of tools, which `text` then tells."""
        if not self.tool_calls:
            return False
        try:
            told = loads(self.text)
        except (ValueError, RecursionError):
            return False
        listed = told if isinstance(told, list) else []
        names = [each.get("name") for each in listed if isinstance(each, dict)]
        return names == [call.name for call in self.tool_calls]

    @property
    def words(self) -> str:
        """Its text, and after it the calls of an answer that has both."""
        called = "" if self.only_calls else written_calls(self.tool_calls)
        return "\n".join(filter(None, (self.text, called)))

    @classmethod
    def of(
        cls,
        answer: Answer,
        prompt: str,
        variables: Mapping[str, str],
        key: str,
        *,
        cached: bool,
        tools: tuple[str, ...] = (),
        files: tuple[str, ...] = (),
    ) -> Call:
        return cls(
            prompt=prompt,
            variables=variables,
            key=key,
            text=answer.words,
            stop_reason=answer.stop_reason,
            usage=answer.usage,
            cost=answer.cost,
            latency=answer.latency,
            cached=cached,
            tool_calls=answer.tool_calls,
            tools=tools,
            files=files,
        )


@dataclass(frozen=True)
class Failure:
    """Why one run of a case failed, as data.

    `operator` is the comparison that the test asked for and that does not hold (``==``, ``in``, ``<`` ...,
    turned round where the test says ``not``); None when it was no comparison (a method call, an exception).
    With ``==`` `expected` and `actual` are JSON-like values. Anything else is a constraint: then `constraint`
    says it in words (``'refund' in answer``) and `expected` is None. ``matches`` stands for ``==`` where
    an object decides by itself what equals it, or where the answer is but measured (its length); ``or`` for
    several comparisons of which one had to hold.

    :param check: the source of the statement that failed.
    :param hint: how the test could tell more, for its author; empty when it tells enough.
    """

    kind: str
    message: str
    where: str
    operator: str | None = None
    expected: Any = None
    actual: Any = None
    constraint: str | None = None
    check: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Outcome:
    """One run of one case under one overlay.

    :param score: 1.0 passed, 0.0 failed; with subtests the share of them that passed; where a judge's score
        was too low, that score; 0.0 when errored or skipped.
    :param error: what went wrong with a model call, for `Status.ERRORED`.
    :param inputs: the test's parameters, for a case that asks a model by itself and so leaves no `calls`.
    :param expected: what the case's assert compares the answer with, JSON-like, passed or failed; None where
        that is not known.
    :param parameters: the test's own parameters, as short texts.
    :param check: the source of the test function, without decorators.
    :param helpers: the source of each short function of its file that the test calls.
    :param unrenderable: whether it is errored since a candidate cannot be rendered for the case and the text
        in the file can.
    :param unjudged: whether it is errored since the judge gave no verdict.
    :param other_calls: requests that are of none of the case's prompts: of its judge, or of an application.
    :param verdicts: what judges have said of the answers.
    :param grades: what the test says of single stages, one for each prompt that it has graded. They decide
        nothing; a failing case may have good grades only, and a passing one a bad grade.
    """

    case: str
    status: Status
    score: float
    sample: int = 0
    failure: Failure | None = None
    error: str | None = None
    calls: tuple[Call, ...] = ()
    duration: float = 0.0
    inputs: Mapping[str, str] = field(default_factory=dict)
    expected: Any | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    check: str = ""
    helpers: tuple[str, ...] = ()
    unrenderable: bool = False
    unjudged: bool = False
    other_calls: tuple[Call, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    grades: tuple[StageGrade, ...] = ()

    @property
    def all_calls(self) -> tuple[Call, ...]:
        """Those of prompts and the others."""
        return (*self.calls, *self.other_calls)

    def grade_of(self, prompt: str) -> StageGrade | None:
        """What the test says of this prompt's stage; None when it says nothing."""
        return next((grade for grade in self.grades if grade.prompt == prompt), None)


def function_of(case: str) -> str:
    """The test function of a case: its node id without parameters, ``tests/test_it.py::test_a``."""
    file, colons, names = case.partition("::")
    return file + colons + names.partition("[")[0]


@dataclass(frozen=True)
class Case:
    """One pytest item that uses one or more prompts.

    :param id: the pytest node id.
    :param prompts: rootdir-relative POSIX paths of its prompt files.
    :param samples: how often it is run per evaluation.
    :param where: ``file:line`` of the test.
    :param models: who answers each of its prompts, in their order; empty when nobody says.
    :param seen_calls: how many calls a run of it was seen to make; 0 when none was counted.
    :param pair: what it is called whichever model answers, where its id names the model; else empty.
    :param reference: of a case with the model that a migration leaves, which is in no rate: the case with
        the new one; else empty.
    :param labelled: what a person says of the answer that a judge is tested with; empty for other cases.
    :param weight: how much it counts in a pass rate.
    :param checks: a digest of what is checked, for a case whose checks stand in no test file; else empty.
    """

    id: str
    prompts: tuple[str, ...]
    split: Split
    samples: int = 1
    where: str = ""
    models: tuple[str, ...] = ()
    seen_calls: int = 0
    labelled: str = ""
    pair: str = ""
    reference: str = ""
    weight: float = 1.0
    checks: str = ""

    @property
    def calls_per_run(self) -> int:
        """Calls of one run, as far as they are known: one for each of its prompts at least."""
        return max(len(self.prompts), self.seen_calls)

    def model_of(self, prompt: str) -> str:
        """Who answers `prompt`; empty when nobody says."""
        return dict(zip(self.prompts, self.models, strict=False)).get(prompt, "")


@dataclass(frozen=True)
class CaseResult:
    """All samples of one case under one overlay."""

    case: Case
    outcomes: tuple[Outcome, ...]

    @property
    def counted(self) -> tuple[Outcome, ...]:
        """The outcomes that are evidence: neither errored nor skipped."""
        return tuple(o for o in self.outcomes if o.status in (Status.PASSED, Status.FAILED))

    @property
    def rate(self) -> float | None:
        """Mean score over the counted samples; None when there is none."""
        counted = self.counted
        return fsum(o.score for o in counted) / len(counted) if counted else None

    @property
    def errored(self) -> bool:
        """Whether no sample is evidence since model calls failed; such a case is in no rate."""
        return not self.counted and any(o.status is Status.ERRORED for o in self.outcomes)

    @property
    def lost(self) -> int:
        """How many samples have no answer where others have one; these are its rate."""
        return sum(o.status is Status.ERRORED for o in self.outcomes) if self.counted else 0

    @property
    def failing(self) -> Outcome | None:
        """The first failed outcome, for feedback."""
        return next((o for o in self.outcomes if o.status is Status.FAILED), None)

    @property
    def status(self) -> Status:
        """How the case ended over all of its samples."""
        if self.errored:
            return Status.ERRORED
        if self.failing is not None:
            return Status.FAILED
        return Status.PASSED if self.counted else Status.SKIPPED


def named_without_model(results: Iterable[CaseResult], prompt: str) -> list[tuple[str, CaseResult]]:
    """The cases that were not skipped, each with the id that it has under all models.

    Where that is not one case's alone, it is the whole id.
    """
    ran = [result for result in results if result.counted or result.errored]
    names = [(result.case.pair or result.case.id, result.case.model_of(prompt)) for result in ran]
    alike = Counter(names)
    return [
        (name[0] if alike[name] == 1 else result.case.id, result)
        for name, result in zip(names, ran, strict=True)
    ]


@dataclass(frozen=True)
class FlakyCase:
    """A case that both passed and failed under one and the same text.

    :param passed: how many of its `samples` with evidence passed.
    """

    case: str
    passed: int
    samples: int


#: Rates are means of floats; closer than this is equal.
EPSILON = 1e-9


def pass_rate(results: Sequence[CaseResult]) -> float | None:
    """Mean of the cases' rates by their weights; cases without evidence are left out; None when none is left.

    The same whatever the order of `results`, which under xdist differs from run to run.
    """
    rates = [(r.rate, r.case.weight) for r in results if r.rate is not None]
    if not rates:
        return None
    return fsum(rate * weight for rate, weight in rates) / fsum(weight for _, weight in rates)


@dataclass(frozen=True)
class Spend:
    """What was paid. `cost` counts known prices only; `unpriced` is how many calls had no known price."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    unpriced: int = 0

    def __add__(self, other: Spend) -> Spend:
        return Spend(*map(operator.add, astuple(self), astuple(other)))

    def __sub__(self, other: Spend) -> Spend:
        return Spend(*map(operator.sub, astuple(self), astuple(other)))
