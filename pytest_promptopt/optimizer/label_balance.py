"""Which answer comes too often under a text, and a set of examples that shows it less.

A model tends to give the answer that most of its examples give, or another one to everything, however well
it could tell the cases apart (Zhao et al., Calibrate Before Use, ICML 2021). An equal number of examples for
each answer does not even this out; what the text answered shows which examples it has too many of.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_promptopt.failures.answer_format import strip_wrapping
from pytest_promptopt.failures.label_vocabulary import could_be_label, fold_label, is_number
from pytest_promptopt.optimizer.label_rates import KNOWN, PER_LABEL, json_object
from pytest_promptopt.prompts.examples import Example
from pytest_promptopt.records import CaseResult
from pytest_promptopt.text import quote, value_text


@dataclass(frozen=True)
class Lean:
    """An answer that comes more often than it is right.

    :param field: the key of JSON answers that it is the value of; empty for a whole answer.
    :param answer: as labels are compared, and `spelled` as it is expected.
    :param share: how often it comes too often, of all answers.
    :param missing: the answers that come too rarely, and how often each is missing.
    """

    field: str
    answer: str
    share: float
    missing: Mapping[str, int]
    spelled: str = ""

    @property
    def told(self) -> str:
        """The answer in words: ``"positive"``, ``"currency": "USD"``."""
        return (f"{quote(self.field)}: " if self.field else "") + quote(self.spelled or self.answer)


def label_parts(answer: str) -> Mapping[str, str]:
    """The parts of an answer that may be labels, folded: by key of a JSON object, else by an empty one."""
    return {field: _folded(text) for field, text in spelled_parts(answer).items()}


def _folded(text: str) -> str:
    """As labels are compared; the sign of a number stays."""
    return text.strip() if is_number(text) else fold_label(text)


def spelled_parts(answer: str) -> Mapping[str, str]:
    """The same as they are spelled."""
    inside = strip_wrapping(answer)[0]
    found = json_object(inside)
    texts = {"": inside} if found is None else {key: value_text(value) for key, value in found.items()}
    return {field: text for field, text in texts.items() if could_be_label(text)}


def label_fields(answers: Iterable[str]) -> tuple[str, ...]:
    """The parts of these right answers that are labels: of few different values, nearly all having one."""
    parts = [label_parts(answer) for answer in answers]
    common = Counter(field for each in parts for field in each)
    values = {field: {each[field] for each in parts if field in each} for field in common}
    return tuple(
        field
        for field, count in common.items()
        if count >= KNOWN * len(parts) and 1 < len(values[field]) <= count / PER_LABEL
    )


def find_lean(right: Mapping[str, str], results: Iterable[CaseResult], prompt: str) -> Lean | None:
    """The answer that `prompt` gives too often, by more than chance explains; None where there is none.

    :param right: by case the right answer.
    :param results: of one text.
    """
    pairs = list(_pairs(right, results, prompt))
    leans = [lean for field in label_fields(right.values()) if (lean := _lean(field, pairs)) is not None]
    if not leans:
        return None
    lean = max(leans, key=lambda lean: lean.share)
    spellings = (spelled_parts(answer).get(lean.field, "") for answer in right.values())
    return replace(lean, spelled=next(text for text in spellings if _folded(text) == lean.answer))


def rebalanced(
    examples: Sequence[Example],
    others: Iterable[Example],
    lean: Lean,
    *,
    seed: object,
    room: int,
    halvings: int = 0,
) -> tuple[Example, ...]:
    """`examples` with some of those for the answer that comes too often in exchange for missing ones.

    The last one for that answer stays: then others are added, or where there is no room take the place of
    examples for the commonest answer. The same where nothing can be done.

    :param others: examples to take from, those first that are to be taken first.
    :param room: how many may be added at most.
    :param halvings: how often exchanges went too far so far: each time half as many are exchanged.
    """
    chooser = random.Random(f"{seed}")
    waiting: dict[str, list[Example]] = defaultdict(list)
    for other in others:
        waiting[_value(other, lean)].append(other)
    held = _places_of(lean.answer, examples, lean)
    adding = len(held) < 2 and room > 0
    # Where one of two labels always comes, half of its examples go, or there will be twice as many others.
    whole = (len(examples) - len(held)) if adding else len(examples) / 4
    count = max(1, round(whole * 2 * lean.share / 2**halvings))
    result = list(examples)
    if adding:
        for example in _taken(waiting, lean.missing, min(room, count)):
            result.insert(chooser.randrange(len(result) + 1), example)
        return tuple(result)
    if len(held) < 2:
        others_held = Counter(_value(one, lean) for one in examples if _value(one, lean) not in lean.missing)
        held = _places_of(max(others_held, key=others_held.__getitem__, default=""), examples, lean)
    places = chooser.sample(held, max(0, min(len(held) - 1, count)))
    for place, example in zip(places, _taken(waiting, lean.missing, len(places)), strict=False):
        result[place] = example
    return tuple(result)


def _value(example: Example, lean: Lean) -> str:
    """What an example shows of the answer that leans."""
    return label_parts(example.answer).get(lean.field, "")


def _places_of(answer: str, examples: Sequence[Example], lean: Lean) -> list[int]:
    return [place for place, one in enumerate(examples) if _value(one, lean) == answer]


def _taken(
    waiting: Mapping[str, Sequence[Example]], missing: Mapping[str, int], count: int
) -> Iterator[Example]:
    """So many examples for the answers that are missing, each as often as it is missing."""
    taken: Counter[str] = Counter()
    for _ in range(count):
        open_answers = [answer for answer in missing if taken[answer] < len(waiting.get(answer, ()))]
        if not open_answers:
            return
        answer = max(open_answers, key=lambda each: (missing[each] / (taken[each] + 1), each))
        yield waiting[answer][taken[answer]]
        taken[answer] += 1


def _pairs(
    right: Mapping[str, str], results: Iterable[CaseResult], prompt: str
) -> Iterator[tuple[Mapping[str, str], Mapping[str, str]]]:
    """The parts of what was expected, and of what came, for each answer of `prompt`."""
    for result in results:
        if (wanted := right.get(result.case.id)) is not None:
            for outcome in result.counted:
                for call in outcome.calls:
                    if call.prompt == prompt:
                        yield label_parts(wanted), label_parts(call.text)


def _lean(field: str, pairs: Sequence[tuple[Mapping[str, str], Mapping[str, str]]]) -> Lean | None:
    values = [(wanted[field], got.get(field)) for wanted, got in pairs if field in wanted]
    wanted, got = Counter(value for value, _ in values), Counter(value for _, value in values)
    too_many = {value: got[value] - wanted[value] for value in wanted}
    answer = max(too_many, key=lambda value: (too_many[value], value), default="")
    # If it came by luck as many cases would get it as lose it, give or take the root of their number; the
    # highest of several labels is further off: about so much (the expected maximum of normal numbers).
    changed = sum((given == answer) != (value == answer) for value, given in values)
    bar = math.sqrt(changed * max(1.0, 2 * math.log(max(1, len(wanted)))))
    if too_many.get(answer, 0) <= bar:
        return None
    missing = {value: -count for value, count in too_many.items() if count < 0}
    return Lean(field, answer, too_many[answer] / len(values), missing)
