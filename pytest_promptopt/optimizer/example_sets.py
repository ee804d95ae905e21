"""Which training cases may stand in a prompt as examples, and sets of them to try."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, zip_longest
from typing import Any

from pytest_promptopt.failures.answer_format import strip_wrapping
from pytest_promptopt.optimizer.label_balance import label_fields, label_parts
from pytest_promptopt.optimizer.protocols import Prompt
from pytest_promptopt.optimizer.redaction import Redact, keep_text
from pytest_promptopt.prompts.examples import Example, cases_among_examples
from pytest_promptopt.records import Call, CaseResult, Outcome, Overlay, Split, Status, function_of
from pytest_promptopt.text import fold_case_and_space, value_text

#: How many examples a set has.
SIZES = (2, 4, 8, 12, 16)

#: Sets of each size.
SETS = 3

#: Characters of all examples of a set, about 4,000 tokens: every call pays for them.
ROOM = 16_000

#: Answers are labels when there are no more different ones than this, and two cases for each on average.
MAX_LABELS = 20

#: Cases that are compared with each other for a diverse set.
MAX_COMPARED = 200

#: How often a case that the current text fails comes before one that it passes, where there are both.
FAILING_FIRST = 2 / 3


@dataclass(frozen=True)
class CaseExample(Example):
    """A training case as an example.

    :param case: its id.
    :param fails: whether the current text fails it: then the example shows what the text lacks.
    """

    case: str
    fails: bool


# ------------------------------------------------------------------------------------------ what may be shown


def usable_examples(
    results: Iterable[CaseResult],
    prompt: str,
    *,
    besides: Iterable[CaseResult] = (),
    redact: Redact = keep_text,
) -> tuple[CaseExample, ...]:
    """The training cases of `results` of which the right answer is known, as examples for `prompt`.

    The answer is the expected value where the test compares the whole answer with it, else one that passed.
    Left out are a case that does not ask `prompt` exactly once, one that asks the same as one of `besides`,
    and all cases that ask the same and want different answers.

    :param results: under the current text.
    :param besides: results of validation cases, of which nothing may be shown.
    """
    training = [result for result in results if result.case.split is Split.TRAIN]
    hidden = {key for result in besides for call in _calls(result, prompt) for key in _asked(call)}
    whole = _functions_that_compare_all(training, prompt)
    found: dict[object, dict[str, CaseExample]] = defaultdict(dict)
    for result in training:
        call = next((c for outcome in result.counted if (c := _only_call(outcome, prompt))), None)
        if call is None or hidden.intersection(_asked(call)):
            continue
        answer = _answer(result, prompt, whole.get(function_of(result.case.id)))
        if answer is not None and answer.strip():
            inputs = {name: redact(text) for name, text in call.variables.items()}
            example = CaseExample(inputs, redact(answer), result.case.id, result.failing is not None)
            found[_asked(call)[0]].setdefault(example.answer, example)
    return tuple(example for answers in found.values() if len(answers) == 1 for example in answers.values())


def right_answers(results: Sequence[CaseResult], prompt: str) -> Mapping[str, str]:
    """By case the right answer of `prompt`, where it is known; also of cases that are no examples."""
    whole = _functions_that_compare_all(results, prompt)
    answers = {r.case.id: _answer(r, prompt, whole.get(function_of(r.case.id))) for r in results}
    return {case: answer for case, answer in answers.items() if answer is not None}


def standing_in(
    prose: str, results: Iterable[CaseResult], prompt: str, *, redact: Redact = keep_text
) -> frozenset[str]:
    """The cases of `results`, by id, that stand in `prose` as examples, redacted or as they are."""
    return cases_among_examples(
        prose,
        (
            (result.case.id, inputs)
            for result in results
            for call in _calls(result, prompt)
            for inputs in (call.variables, {name: redact(text) for name, text in call.variables.items()})
        ),
    )


def shown_by(
    prompts: Iterable[Prompt], overlay: Overlay, results: Iterable[CaseResult], redact: Redact = keep_text
) -> frozenset[str]:
    """The cases of `results`, by id, that stand as examples in the texts of `prompts` under an overlay."""
    known = tuple(results)
    texts = ((prompt.name, overlay.get(prompt.name, prompt.prose)) for prompt in prompts)
    return frozenset[str]().union(*(standing_in(text, known, name, redact=redact) for name, text in texts))


def _answer(result: CaseResult, prompt: str, compares_all: bool | None) -> str | None:
    """:param compares_all: whether the test compares the whole answer; None when nothing shows it."""
    last = [outcome for outcome in result.counted if outcome.calls and outcome.calls[-1].prompt == prompt]
    expected = next((value for value in map(_expected, last) if value is not None), None)
    if expected is not None and (compares_all or (compares_all is None and not isinstance(expected, bool))):
        return value_text(expected)
    passing = (_only_call(o, prompt) for o in result.counted if o.status is Status.PASSED)
    return next((call.text for call in passing if call is not None), None)


def _functions_that_compare_all(results: Iterable[CaseResult], prompt: str) -> dict[str, bool]:
    """Test function -> whether what it compares is, more often than not, all that `prompt` answered.

    A test may compare the length of the answer, or one key of it: its expected value is no answer then.
    """
    votes: Counter[str] = Counter()
    heard: set[str] = set()
    for result in results:
        for outcome in result.counted:
            compared = _compared(outcome)
            if compared is not None and outcome.calls and outcome.calls[-1].prompt == prompt:
                heard.add(function_of(result.case.id))
                votes[function_of(result.case.id)] += 1 if _is_all(compared, outcome.calls[-1].text) else -1
    return {function: votes[function] > 0 for function in heard}


def _compared(outcome: Outcome) -> Any | None:
    """The side of the comparison that came from the answer, where it is known."""
    if outcome.status is Status.PASSED:
        return outcome.expected
    return (
        outcome.failure.actual if outcome.failure is not None and outcome.failure.operator == "==" else None
    )


def _is_all(value: Any, answer: str) -> bool:
    inside = strip_wrapping(answer)[0]
    if isinstance(value, str):
        return strip_wrapping(value)[0].casefold() == inside.casefold()
    try:
        return bool(json.loads(inside) == value)
    except (ValueError, RecursionError):
        return str(value) == inside


def _expected(outcome: Outcome) -> Any | None:
    if outcome.expected is not None:
        return outcome.expected
    failure = outcome.failure
    return failure.expected if failure is not None and failure.operator == "==" else None


def _calls(result: CaseResult, prompt: str) -> Iterator[Call]:
    return (call for outcome in result.outcomes for call in outcome.calls if call.prompt == prompt)


def _only_call(outcome: Outcome, prompt: str) -> Call | None:
    calls = [call for call in outcome.calls if call.prompt == prompt]
    # Neither a call of a tool nor a file can be told in the text of a prompt.
    told = [call for call in calls if not (call.tools or call.files)]
    return told[0] if len(calls) == len(told) == 1 else None


def _asked(call: Call) -> tuple[object, str]:
    """What is equal when two calls ask the same: their inputs without white space and case; their request."""
    return frozenset((n, fold_case_and_space(t)) for n, t in call.variables.items()), call.key


# ----------------------------------------------------------------------------------------------- sets of them


def sizes_up_to(most: int) -> tuple[int, ...]:
    """The sizes of sets where `most` examples are allowed; none for 0."""
    return tuple(sorted({size for size in SIZES if size < most} | ({most} if most > 0 else set())))


def length_of(example: Example) -> int:
    """The characters of an example's own texts."""
    return len(example.answer) + sum(map(len, example.inputs.values()))


def draw_example_sets(
    pool: Sequence[CaseExample],
    *,
    seed: object,
    sizes: Sequence[int] = SIZES,
    length: Callable[[Example], int] = length_of,
    like: Sequence[Example] = (),
) -> list[tuple[CaseExample, ...]]:
    """Sets of examples to try, small ones first; all different, and the same ones for the same seed.

    A set has equally many cases of each answer where the answers are labels, or of each label in JSON
    answers; else it has cases that differ as much as possible. More than half of the pool is never shown: a
    case shown as an example proves nothing.

    :param length: characters of an example, all that stands around it included.
    :param like: a set that has a label as often as is good; as often for its size others have it.
    """
    first = {example.case for example in pool if example.fails}
    found: dict[frozenset[str], tuple[CaseExample, ...]] = {}
    for size in sizes:
        fitting = sorted((e for e in pool if length(e) * size <= ROOM), key=lambda e: e.case)
        if not 0 < size <= min(len(fitting), len(pool) // 2):
            continue
        label = label_by(fitting)
        for number in range(SETS):
            chooser = random.Random(f"{seed}/{size}/{number}")
            if label is None:
                drawn = _diverse(_mixed(fitting, first, chooser)[:MAX_COMPARED], size, first)
            else:
                drawn = _balanced(fitting, label, size, first, chooser, like)
            chooser.shuffle(drawn)
            found.setdefault(frozenset(example.case for example in drawn), tuple(drawn))
    return list(found.values())


def _balanced(
    pool: Sequence[CaseExample],
    label: Callable[[Example], object],
    size: int,
    first: Collection[str],
    chooser: random.Random,
    like: Sequence[Example],
) -> list[CaseExample]:
    by_label: dict[object, list[CaseExample]] = defaultdict(list)
    for example in pool:
        by_label[label(example)].append(example)
    queues = [(name, _mixed(group, first, chooser)) for name, group in by_label.items()]
    chooser.shuffle(queues)
    # Labels without a failing case come last.
    queues.sort(key=lambda queue: not any(example.case in first for example in queue[1]))
    return list(islice(_in_shares(queues, Counter(map(label, like))), size))


def label_by(pool: Sequence[CaseExample]) -> Callable[[Example], object] | None:
    """What is the label of an example: its answer, or the labels in a JSON answer; None without labels."""
    fields = label_fields(example.answer for example in pool)
    for label in (answer_of, partial(_labels_in, fields), partial(_labels_in, fields[:1])):
        if 1 < len(set(map(label, pool))) <= min(MAX_LABELS, len(pool) // 2):
            return label
    return None


def answer_of(example: Example) -> object:
    """Its answer, without what makes no difference between labels."""
    return example.answer.strip().casefold()


def _labels_in(fields: Sequence[str], example: Example) -> object:
    parts = label_parts(example.answer)
    return tuple(parts.get(field) for field in fields)


def _in_shares(
    queues: Sequence[tuple[object, Sequence[CaseExample]]], held: Mapping[object, int]
) -> Iterator[CaseExample]:
    """All examples, those of each label as often as it is held, at any point; equally often if none is.

    A label that is not held comes as often as one that is held once.
    """
    taken: Counter[object] = Counter()
    while open_queues := [(name, queue) for name, queue in queues if taken[name] < len(queue)]:
        name, queue = max(open_queues, key=lambda one: (held.get(one[0]) or 1) / (taken[one[0]] + 1))
        yield queue[taken[name]]
        taken[name] += 1


def _mixed(
    examples: Sequence[CaseExample], first: Collection[str], chooser: random.Random
) -> list[CaseExample]:
    """Cases of `first` and others in turn, each in any order."""
    shuffled = chooser.sample(examples, len(examples))
    preferred = [e for e in shuffled if e.case in first]
    others = [e for e in shuffled if e.case not in first]
    pair = (preferred, others) if chooser.random() < FAILING_FIRST else (others, preferred)
    return [e for e in chain.from_iterable(zip_longest(*pair)) if e is not None]


def _diverse(pool: Sequence[CaseExample], size: int, first: Collection[str]) -> list[CaseExample]:
    """The first of `pool`, and in turn preferred and other cases that are least like those chosen before."""
    words = [_words(example) for example in pool]
    nearness = [0.0] * len(pool)
    left = dict.fromkeys(range(1, len(pool)))
    chosen = [0]
    while len(chosen) < size:
        latest = words[chosen[-1]]
        for place in left:
            shared = len(latest & words[place]) / max(1, len(latest | words[place]))
            nearness[place] = max(nearness[place], shared)
        wanted = pool[chosen[-1]].case not in first
        place = min(left, key=lambda at: ((pool[at].case in first) is not wanted, nearness[at]))
        chosen.append(place)
        del left[place]
    return [pool[place] for place in chosen]


def _words(example: Example) -> frozenset[str]:
    return frozenset(" ".join([*example.inputs.values(), example.answer]).casefold().split())
