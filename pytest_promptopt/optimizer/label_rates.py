"""Right and wrong per expected label, and the answer that comes whatever was expected."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_promptopt.failures import FailedCase
from pytest_promptopt.failures.answer_format import strip_wrapping
from pytest_promptopt.failures.label_vocabulary import could_be_label, fold_label
from pytest_promptopt.records import EPSILON, CaseResult, Outcome
from pytest_promptopt.results import LabelScore, SameAnswer
from pytest_promptopt.text import cut_middle, json_text, quote, value_text

#: One answer that makes up this share of all answers is given whatever was expected ...
COLLAPSED = 0.9
#: ... if it was expected in a much smaller share of at least so many cases.
FAR = 0.2
FEWEST = 6

#: A table by label is shown from this average number of cases per label on.
PER_LABEL = 2

#: The share of the cases whose expected value must be known: a table of some of them would mislead.
KNOWN = 0.9

#: Rows of wrong labels, and answers in a row; the rest is counted.
MAX_ROWS = 6
MAX_INSTEAD = 2

#: Answers whose counts are told of a text that was tried.
MAX_GIVEN = 4


@dataclass(frozen=True)
class Row:
    """The results of the cases that expect one label.

    :param instead: the wrong answers and how often each came, most frequent first; ``""`` stands for texts
        that are no label and came once, or are long.
    """

    label: str
    right: int
    total: int
    instead: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class LabelTally:
    """The cases by what they expect.

    :param field: the key of JSON answers that is counted; empty for the answer itself.
    :param rows: per label, the one with most wrong answers first; empty where the expected values are no
        labels.
    :param collapsed: the answer that nearly always comes, and how often; None where there is none.
    """

    field: str
    right: int
    total: int
    rows: tuple[Row, ...]
    collapsed: tuple[str, int] | None

    @property
    def balanced(self) -> float | None:
        """The mean over the labels of how many are right; None without labels."""
        shares = [row.right / row.total for row in self.rows]
        return sum(shares) / len(shares) if shares else None


@dataclass(frozen=True)
class _Pair:
    expected: str
    got: str
    right: bool


def label_tallies(results: Sequence[CaseResult]) -> tuple[LabelTally, ...]:
    """One tally of what `results`, all of one text, expect and got; of JSON objects one for each key.

    Empty where too little is known of what the cases expect.
    """
    return _tallies(results, _wanted(results))


def _tallies(results: Iterable[CaseResult], wanted: Mapping[str, str]) -> tuple[LabelTally, ...]:
    counted = [result for result in results if result.counted]
    pairs = list(_pairs(counted, wanted))
    if not pairs or len(pairs) < KNOWN * len(counted):
        return ()
    objects = [json_object(pair.expected) for pair in pairs]
    if not all(objects):
        return (_tally("", pairs),)
    return tuple(_tally(key, list(_field(key, pairs))) for key in _keys(objects))


def expected_of(outcome: Outcome) -> str | None:
    """The value that the test compares the answer with, as text; None when it is not known."""
    if outcome.expected is not None:
        return value_text(outcome.expected)
    failure = outcome.failure
    return value_text(failure.expected) if failure is not None and failure.operator == "==" else None


def with_expected_value(
    failed: Iterable[FailedCase], results: Sequence[CaseResult]
) -> tuple[FailedCase, ...]:
    """`failed` with what their tests expect, also where they failed before anything was compared."""
    outcomes = {result.case.id: result.failing for result in results}
    return tuple(_expecting(case, outcomes.get(case.case)) for case in failed)


def _expecting(case: FailedCase, outcome: Outcome | None) -> FailedCase:
    if case.expected is not None or outcome is None or outcome.expected is None:
        return case
    compared = outcome.failure is not None and outcome.failure.operator is not None
    return case if compared else replace(case, expected=cut_middle(value_text(outcome.expected)))


def _wanted(results: Iterable[CaseResult]) -> dict[str, str]:
    """What each case expects, where that is known.

    A case that passes and does not say what it expects gave the label that it expects, if that is one which
    other cases expect.
    """
    shown = [(result, result.failing or result.counted[0]) for result in results if result.counted]
    found: dict[str, str] = {}
    for result, outcome in shown:
        if (text := expected_of(outcome)) is not None:
            found.setdefault(result.case.id, text)
    labels = {fold_label(text): text for text in found.values()}
    for result, outcome in shown:
        if result.failing is None and result.case.id not in found and outcome.calls:
            label = labels.get(_folded(outcome.calls[-1].text))
            if label is not None:
                found[result.case.id] = label
    return found


def _pairs(results: Iterable[CaseResult], wanted: Mapping[str, str]) -> Iterator[_Pair]:
    """What was expected and what came, of the cases where both are known."""
    for result in results:
        if (text := wanted.get(result.case.id)) is not None:
            failing = result.failing
            yield _Pair(text, text if failing is None else _got(failing), right=failing is None)


def _got(outcome: Outcome) -> str:
    failure = outcome.failure
    if failure is not None and failure.operator == "==":
        return value_text(failure.actual)
    return outcome.calls[-1].text if outcome.calls else ""


def json_object(text: str) -> dict[str, object] | None:
    """The JSON object that `text` is; None when it is none."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _keys(objects: Sequence[Mapping[str, object] | None]) -> tuple[str, ...]:
    """The keys that all `objects` have."""
    return tuple(key for key in objects[0] or {} if all(key in (each or {}) for each in objects))


def _field(key: str, pairs: Iterable[_Pair]) -> Iterator[_Pair]:
    for pair in pairs:
        wanted, given = (json_object(text) or {} for text in (pair.expected, pair.got))
        # An answer that is no JSON, or lacks the key, has no value of it: it is wrong as a whole.
        got = value_text(given[key]) if key in given else ""
        yield _Pair(value_text(wanted[key]), got, right=key in given and wanted[key] == given[key])


def _tally(field: str, pairs: Sequence[_Pair]) -> LabelTally:
    return LabelTally(
        field=field,
        right=sum(pair.right for pair in pairs),
        total=len(pairs),
        rows=_rows(pairs) if _are_labels(pairs) else (),
        collapsed=_collapsed(pairs),
    )


def _are_labels(pairs: Sequence[_Pair]) -> bool:
    expected = Counter(pair.expected for pair in pairs)
    short = all(could_be_label(text) for text in expected)
    return short and 1 < len(expected) <= len(pairs) / PER_LABEL


def _rows(pairs: Sequence[_Pair]) -> tuple[Row, ...]:
    labels = {fold_label(pair.expected): pair.expected for pair in pairs}
    names = _recurring(pairs) | labels
    wrong: dict[str, Counter[str]] = defaultdict(Counter)
    right: Counter[str] = Counter()
    for pair in pairs:
        label = labels[fold_label(pair.expected)]
        if pair.right:
            right[label] += 1
        else:
            wrong[label][names.get(_folded(pair.got), "")] += 1
    rows = (
        Row(label, right[label], right[label] + wrong[label].total(), tuple(wrong[label].most_common()))
        for label in dict.fromkeys(labels.values())
    )
    return tuple(sorted(rows, key=lambda row: (row.right - row.total, row.label)))


def _folded(answer: str) -> str:
    return fold_label(strip_wrapping(answer)[0])


def _recurring(pairs: Iterable[_Pair]) -> dict[str, str]:
    """The wrong answers that came more than once and are as short as a label, by how they are compared."""
    wrong = [strip_wrapping(pair.got)[0] for pair in pairs if not pair.right]
    short = [text.strip() for text in wrong if could_be_label(text)]
    counts = Counter(map(fold_label, short))
    return {fold_label(text): text for text in reversed(short) if counts[fold_label(text)] > 1}


def _collapsed(pairs: Sequence[_Pair]) -> tuple[str, int] | None:
    texts: dict[str, str] = {}
    for pair in pairs:
        texts.setdefault(_folded(pair.got), pair.got.strip())
    answers = Counter(_folded(pair.got) for pair in pairs)
    if len(pairs) < FEWEST or not answers:
        return None
    answer, count = answers.most_common(1)[0]
    wanted = sum(fold_label(pair.expected) == answer for pair in pairs)
    nearly_always = count >= COLLAPSED * len(pairs) and answer != ""
    return (texts[answer], count) if nearly_always and count - wanted >= FAR * len(pairs) else None


def balanced_accuracy(results: Sequence[CaseResult]) -> float | None:
    """The mean over the expected labels of the share that is right; None where there are no labels.

    A text that answers the same to everything is right for one label only, however often that is expected.
    """
    return next((tally.balanced for tally in _whole(label_tallies(results))), None)


def answers_all_the_same(results: Sequence[CaseResult]) -> bool:
    """Whether one answer came to all of these cases, of different labels: so it probably does to others."""
    return any(each.collapsed and each.collapsed[1] == each.total for each in _whole(label_tallies(results)))


def _whole(tallies: Iterable[LabelTally]) -> Iterator[LabelTally]:
    """That of whole answers, not of a key of JSON answers."""
    return (tally for tally in tallies if not tally.field)


def one_answer_without_gain(before: Sequence[CaseResult], after: Sequence[CaseResult]) -> str:
    """Why a text that answers the same to everything is no gain over another; empty where it is one.

    Its pass rate says how often this answer is expected among the cases, not how well it tells them apart.
    Nothing is said of cases with scores: these say more than right or wrong.

    :param before: results of the other text, and `after` of this one; they may be of different cases.
    """
    if any(0 < result.rate < 1 for result in (*before, *after) if result.rate is not None):
        return ""
    same = [tally for tally in _whole(label_tallies(after)) if tally.collapsed]
    if not same or (same[0].balanced or 0.0) > (balanced_accuracy(before) or 0.0) + EPSILON:
        return ""
    (told,) = describe_dominant_answers(same)
    return f"{told}; by label it is no better"


def label_scores(before: Sequence[CaseResult], after: Sequence[CaseResult]) -> Iterator[LabelScore]:
    """Right and wrong per label under two texts, on the cases with a result under both."""
    new = {result.case.id: result for result in after if result.counted}
    old = {result.case.id: result for result in before if result.counted and result.case.id in new}
    # Either text may tell what a case expects.
    wanted = _wanted([*old.values(), *(new[case] for case in old)])
    then, now = _tallies(old.values(), wanted), _tallies([new[case] for case in old], wanted)
    right = {(tally.field, row.label): row.right for tally in then for row in tally.rows}
    for tally in now:
        for row in tally.rows:
            was = right[tally.field, row.label]
            yield LabelScore(tally.field, row.label, row.total, was, row.right, row.instead)


def find_dominant_answers(results: Sequence[CaseResult]) -> Iterator[SameAnswer]:
    """The answers that nearly always come, whatever is expected."""
    for tally in label_tallies(results):
        if tally.collapsed:
            yield SameAnswer(tally.field, *tally.collapsed, tally.total)


def label_table(found: Sequence[LabelTally]) -> Iterator[str]:
    """For each label how many are right and what came instead, as lines of text; JSON answers key by key."""
    keys = [tally for tally in found if tally.field and tally.right < tally.total]
    if keys:
        told = ", ".join(f"{quote(tally.field)} {tally.right}/{tally.total}" for tally in keys)
        yield f"right by key: {told}" + "; the other keys are right" * (len(keys) < len(found))
    for tally in found:
        confused = any(answer for row in tally.rows for answer, _ in row.instead)
        if confused or (tally.rows and not tally.field):
            yield from _rows_told(tally)
    yield from describe_dominant_answers(found)


def _rows_told(tally: LabelTally) -> Iterator[str]:
    wrong = [row for row in tally.rows if row.right < row.total]
    name = f"{quote(tally.field)}: " if tally.field else ""
    if wrong and not tally.field:
        yield "right by expected answer (and what came instead):"
    for row in wrong[:MAX_ROWS]:
        yield f"{name}{quote(row.label)} {row.right}/{row.total}{_instead(row)}"
    if hidden := wrong[MAX_ROWS:]:
        right, total = sum(row.right for row in hidden), sum(row.total for row in hidden)
        yield f"{name}{len(hidden)} other answers {right}/{total}"
    whole = [row for row in tally.rows if row.right == row.total]
    if wrong and whole:
        told = ", ".join(f"{quote(row.label)} {row.total}/{row.total}" for row in whole[:MAX_ROWS])
        yield f"{name}{told}" + f" and {len(whole) - MAX_ROWS} more that are right" * (len(whole) > MAX_ROWS)


def describe_dominant_answers(label_tallies: Iterable[LabelTally]) -> Iterator[str]:
    """What was answered whatever was expected, a line each."""
    for tally in label_tallies:
        if tally.collapsed:
            answer, count = tally.collapsed
            said = f"it answered {quote(answer)} to {count} of {tally.total}, whatever was expected"
            yield _by_key(tally) + said


def describe_given_answers(label_tallies: Iterable[LabelTally]) -> Iterator[str]:
    """What was answered, a line for each tally: the answer that always came, or how often each label did."""
    for tally in label_tallies:
        if tally.collapsed or not tally.rows:
            yield from describe_dominant_answers([tally])
            continue
        given = Counter({row.label: row.right for row in tally.rows})
        for row in tally.rows:
            given.update(dict(row.instead))
        common = [(answer, count) for answer, count in given.most_common() if count]
        told = [f"{quote(answer) if answer else 'no label'} {count}" for answer, count in common[:MAX_GIVEN]]
        if more := sum(count for _, count in common[MAX_GIVEN:]):
            told.append(f"others {more}")
        yield f"{_by_key(tally)}it answered {', '.join(told)}"


def _by_key(tally: LabelTally) -> str:
    return f"{json_text(tally.field)}: " if tally.field else ""


def _instead(row: Row) -> str:
    told = [
        f"{describe_wrong_answer(answer, row.label)} {count}" for answer, count in row.instead[:MAX_INSTEAD]
    ]
    if more := sum(count for _, count in row.instead[MAX_INSTEAD:]):
        told.append(f"others {more}")
    return f" ({', '.join(told)})" if told else ""


def describe_wrong_answer(answer: str, label: str) -> str:
    """What came where `label` was expected: ``"card_arrival"``, ``no label``."""
    if not answer:
        return "no label"
    return "the same in another form" if answer == label else quote(answer)
