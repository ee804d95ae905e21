"""From recorded calls to cases: each question once, with its answers and what people said of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Message
from pytest_promptopt.suites.case_reading import slug_of
from pytest_promptopt.traces.prompt_inputs import NoInputs, PromptInputs, inputs_of
from pytest_promptopt.traces.recorded_call import Export, Feedback, Opinion, RecordedCall
from pytest_promptopt.traces.reviews import opinion_of, switches

#: Hexadecimal digits of an id: of a million cases no two are likely to share them.
ID_DIGITS = 12


@dataclass
class TraceCase:
    """One question to a prompt.

    :param inputs: the prompt's variables, redacted.
    :param answers: how often each was given, redacted.
    :param right: answers that a person called right, or has written; `wrong` those called wrong.
    :param said: what people have said of its answers, a phrase each.
    """

    inputs: dict[str, str]
    messages: tuple[Message, ...]
    seen: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    models: list[str] = field(default_factory=list)
    right: list[str] = field(default_factory=list)
    corrected: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The same for the same question, in whichever export it stands."""
        return key_of(self.inputs, self.messages)

    @property
    def id(self) -> str:
        """Its name: some words of it, and what tells it from all others."""
        texts = [*self.inputs.values(), *(each.content for each in self.messages)]
        slug = next(filter(None, map(slug_of, texts)), "case")
        return f"{slug}-{self.key[:ID_DIGITS]}"

    @property
    def expected(self) -> str | None:
        """The answer that people have said is right; None where they said none, or contradict each other."""
        found = set(self.corrected) or set(self.right)
        if len(found) != 1 or found & set(self.wrong):
            return None
        return next(iter(found))

    @property
    def recorded(self) -> str | None:
        """The answer that was given most often; of equals the first."""
        return self.answers.most_common(1)[0][0] if self.answers else None


@dataclass
class PromptCases:
    """The cases of one prompt, by their keys, in the order of the export."""

    prompt: PromptFile
    cases: dict[str, TraceCase] = field(default_factory=dict)


@dataclass
class MadeCases:
    """What became of an export.

    :param left_out: why calls are no cases, with how many of them; `examples` has more of some of these.
    :param calls: how many calls there were, each once; `earlier` those with an earlier text of their prompt.
    """

    prompts: dict[str, PromptCases] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    calls: int = 0
    unrecorded: int = 0
    earlier: int = 0


def key_of(inputs: object, messages: Sequence[Message]) -> str:
    """What stands for a question, whatever is said of its answer."""
    turns = [[each.role, each.content] for each in messages]
    text = json.dumps([inputs, turns], sort_keys=True, ensure_ascii=True, default=str)
    return sha256(text.encode()).hexdigest()


def make_cases(
    export: Export,
    prompts: Sequence[PromptFile],
    redact: Callable[[str], str],
    earlier: Callable[[], Sequence[PromptFile]] = tuple,
) -> MadeCases:
    """The cases that an export holds for `prompts`.

    :param earlier: as of `inputs_of`.
    :param redact: is given each text that will be written, and returns what may be.
    """
    made = MadeCases()
    calls, same = _once(export.calls)
    said = _Said(export, calls, same)
    for call in calls:
        made.calls += 1
        if not call.messages:
            made.unrecorded += 1
            continue
        for found in inputs_of(call, prompts, earlier):
            if isinstance(found, NoInputs):
                reason = found.reason if found.prompt is None else f"{found.prompt.name}: {found.reason}"
                made.left_out[reason] += 1
                if found.example and reason not in made.examples:
                    made.examples[reason] = redact(found.example)
                continue
            made.earlier += found.is_earlier
            group = made.prompts.setdefault(found.prompt.name, PromptCases(found.prompt))
            _add(group, found, call, said, redact)
    return made


def _once(calls: Sequence[RecordedCall]) -> tuple[list[RecordedCall], dict[str, str]]:
    """Each call once, since two instrumentations may have recorded it in one trace.

    Also the spans of the others, each with the span of the call that stands for it.
    """
    found: dict[object, RecordedCall] = {}
    same: dict[str, str] = {}
    for number, call in enumerate(calls):
        key = (call.trace, call.messages, call.answer) if call.trace else number
        first = found.setdefault(key, call)
        same[call.span] = first.span
        if not first.model and call.model:
            found[key] = replace(first, model=call.model)
    return list(found.values()), same


class _Said:
    """What people said of calls, by span, or by trace where it has only one call."""

    def __init__(self, export: Export, calls: Sequence[RecordedCall], same: Mapping[str, str]) -> None:
        self.switches = switches(export.feedback)
        self._of_span: dict[str, list[Feedback]] = {}
        self._of_trace: dict[str, list[Feedback]] = {}
        single = {trace for trace, count in Counter(call.trace for call in calls).items() if count == 1}
        for each in export.feedback:
            if each.by_person and each.span in same and each.span:
                self._of_span.setdefault(same[each.span], []).append(each)
            elif each.by_person:
                trace = each.trace or export.traces.get(each.span, "")
                if trace in single and trace:
                    self._of_trace.setdefault(trace, []).append(each)

    def of(self, call: RecordedCall) -> list[Feedback]:
        return [*self._of_span.get(call.span, ()), *self._of_trace.get(call.trace, ())]


def _add(
    group: PromptCases,
    found: PromptInputs,
    call: RecordedCall,
    said: _Said,
    redact: Callable[[str], str],
) -> None:
    inputs = {name: redact(text) for name, text in sorted(found.variables.items())}
    messages = tuple(Message(each.role, redact(each.content)) for each in found.messages)
    case = group.cases.setdefault(key_of(inputs, messages), TraceCase(inputs, messages))
    case.seen += 1
    if call.model and call.model not in case.models:
        case.models.append(call.model)
    answer = None if call.answer is None else redact(call.answer)
    if answer is not None:
        case.answers[answer] += 1
    for each in said.of(call):
        if each.correction is not None:
            case.corrected.append(redact(each.correction))
            case.said.append(f"{each.name}: corrected")
            continue
        opinion = opinion_of(each, said.switches)
        shown = f"{each.name}: {each.label or _number(each.value)}"
        case.said.append(redact(f"{shown} ({each.explanation})" if each.explanation else shown))
        if answer is not None and opinion is not Opinion.UNCLEAR:
            (case.right if opinion is Opinion.RIGHT else case.wrong).append(answer)


def _number(value: float | None) -> str:
    return "no value" if value is None else f"{value:g}"
