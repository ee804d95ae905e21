"""What the rooms say to each other: frozen records without behaviour of their own.

Everything here is plain data (JSON-like inside), so that it crosses threads, xdist channels and files
unchanged.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from json import dumps
from math import fsum
from typing import Any

from pytest_promptopt.verdicts import Verdict
from pytest_promptopt.wire_records import WireAnswer, WireRequest

#: The version of stored answers, part of every cache key: add one when an old answer would mean something
#: else. The journal and the fingerprint of a run have versions of their own, so a change of them throws no
#: answer away.
ANSWER_SCHEMA = 1

#: What providers call the length of an answer besides ``max_tokens``: one setting, `Request.max_tokens`.
LENGTH_NAMES = frozenset(
    {
        "max_completion_tokens",
        "max_output_tokens",
        "max_new_tokens",
        "max_tokens_to_sample",
        "maxOutputTokens",
        "num_predict",
        "n_predict",
    }
)

#: One that some models of a provider take and others refuse, so it is sent as it was given.
SPELLED = "max_completion_tokens"

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


class StopReason(StrEnum):
    """Why a model stopped, in one vocabulary; a reason not listed here is kept as the provider's own word."""

    END = "end_turn"
    MAX_TOKENS = "max_tokens"
    STOP_SEQUENCE = "stop_sequence"
    REFUSAL = "refusal"


@dataclass(frozen=True)
class Message:
    """One turn of a chat; `role` is ``system``, ``user`` or ``assistant``."""

    role: str
    content: str


@dataclass(frozen=True)
class Request:
    """Everything that decides a model's answer.

    :param model: ``provider/model`` or ``demo``, as resolved.
    :param parameters: further provider parameters (temperature, top_p, ...), passed through.
    :param sample: which of several independent answers to the same question this is; from 0.
    :param wire: what the code under test sends by itself; the other fields then say what that means.
    """

    model: str
    messages: tuple[Message, ...]
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    response_schema: Mapping[str, Any] | None = None
    sample: int = 0
    wire: WireRequest | None = None

    @cached_property
    def key(self) -> str:
        """sha256 over all that decides the answer and `ANSWER_SCHEMA`: equal keys, equal question."""
        parts = [
            ANSWER_SCHEMA,
            self.model,
            [[m.role, m.content] for m in self.messages],
            self.max_tokens,
            list(self.stop),
            self.parameters,
            self.response_schema,
            self.sample,
        ]
        if self.wire is not None:
            parts = [ANSWER_SCHEMA, self.wire.to_json(), self.sample]
        text = dumps(parts, sort_keys=True, separators=(",", ":"), default=_unserializable)
        return sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """All fields as plain data; the messages as pairs of role and content."""
        return {
            **{each.name: getattr(self, each.name) for each in fields(self)},
            "messages": [[message.role, message.content] for message in self.messages],
            "stop": list(self.stop),
            "parameters": dict(self.parameters),
            "wire": None if self.wire is None else self.wire.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Request:
        """The same request, of the same key, from what `to_json` has written."""
        messages = tuple(Message(role, content) for role, content in data["messages"])
        wire = None if data.get("wire") is None else WireRequest.from_json(data["wire"])
        return cls(**{**data, "messages": messages, "stop": tuple(data["stop"]), "wire": wire})


def _unserializable(value: object) -> object:
    raise TypeError(f"a model parameter must be JSON-like, got {type(value).__name__}: {value!r}")


@dataclass(frozen=True)
class Usage:
    """Tokens of one call in counters that do not overlap: `input_tokens` excludes cache reads and writes."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    @property
    def total(self) -> int:
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens


@dataclass(frozen=True)
class Answer:
    """A model's answer as it was paid for.

    :param stop_reason: a `StopReason` value or the provider's own word.
    :param usage: None when the provider did not say.
    :param cost: US dollars; None when the price is unknown (never 0 for that).
    :param latency: seconds of the successful attempt.
    :param thinking: what the model thought aloud before its answer; no part of the text.
    :param wire: what the server sent, for a request of the application's own.
    """

    text: str
    model: str
    stop_reason: str
    usage: Usage | None
    cost: float | None
    latency: float
    thinking: str = ""
    wire: WireAnswer | None = None

    def to_json(self) -> dict[str, Any]:
        """All fields as plain data; `usage` as its four counters in their order."""
        return {
            "text": self.text,
            "model": self.model,
            "stop_reason": self.stop_reason,
            "usage": self.usage and list(astuple(self.usage)),
            "cost": self.cost,
            "latency": self.latency,
            **({"thinking": self.thinking} if self.thinking else {}),
            **({} if self.wire is None else {"wire": self.wire.to_json()}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Answer:
        """Raises KeyError, TypeError or ValueError on anything that `to_json` did not write."""
        usage = data["usage"]
        if not isinstance(data["text"], str) or not isinstance(data["stop_reason"], str):
            raise TypeError("text and stop_reason must be strings")
        return cls(
            text=data["text"],
            model=str(data["model"]),
            stop_reason=data["stop_reason"],
            usage=None if usage is None else Usage(*(int(n) for n in usage)),
            cost=None if data["cost"] is None else float(data["cost"]),
            latency=float(data["latency"]),
            thinking=str(data.get("thinking", "")),
            wire=WireAnswer.from_json(data["wire"]) if "wire" in data else None,
        )


@dataclass(frozen=True)
class Call:
    """One use of a prompt inside a run of a case.

    :param variables: what the test gave, as strings: the prompt's variables, and the contents of
        ``messages=`` by role; empty for the calls of a judge that is not under test itself.
    :param cached: the answer came from the cache, not from a call paid in this run.
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

    @classmethod
    def of(cls, answer: Answer, prompt: str, variables: Mapping[str, str], key: str, *, cached: bool) -> Call:
        return cls(
            prompt=prompt,
            variables=variables,
            key=key,
            text=answer.text,
            stop_reason=answer.stop_reason,
            usage=answer.usage,
            cost=answer.cost,
            latency=answer.latency,
            cached=cached,
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
    :param unrenderable: whether it is errored since a candidate cannot be rendered for the case and the text
        in the file can.
    :param unjudged: whether it is errored since the judge gave no verdict.
    :param other_calls: requests that are of none of the case's prompts: of its judge, or of an application.
    :param verdicts: what judges have said of the answers.
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
    unrenderable: bool = False
    unjudged: bool = False
    other_calls: tuple[Call, ...] = ()
    verdicts: tuple[Verdict, ...] = ()

    @property
    def all_calls(self) -> tuple[Call, ...]:
        """Those of prompts and the others."""
        return (*self.calls, *self.other_calls)


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
    def failing(self) -> Outcome | None:
        """The first failed outcome, for feedback."""
        return next((o for o in self.outcomes if o.status is Status.FAILED), None)


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
