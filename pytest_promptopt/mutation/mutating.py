"""Breaking one instruction of a prompt after the other, and looking which cases notice it.

Of each instruction the cases are run once with the text that it is broken in. Those that fail are asked
again, until an exact test says that it is no luck; see `evidence`. That costs little more than one run of
each case, and less where the first cases show it already.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TypeVar

from pytest_promptopt.mutation.evidence import Again, answers_needed, chance_of
from pytest_promptopt.mutation.findings import Finding, Notice
from pytest_promptopt.mutation.instructions import Instruction
from pytest_promptopt.records import EPSILON
from pytest_promptopt.settings import Breaking

#: Cases that are run first; where this many of them fail, they are asked again before the others are run.
FIRST, CLEAR = 8, 3

#: Cases that failed and whose fresh answers are tested, and that are asked whether they fail again, at most.
MOST_TESTED, MOST_SCREENED = 8, 24

#: How often a case that failed once is asked whether it fails again before it is let go.
SCREENING = 2

#: Of the error that is allowed, for each look at fresh answers: at once, where many cases fail, and then at
#: the cases that failed again, with more and more answers: under the broken prompt, and as it is.
SHARES = (0.25, 0.35, 0.2, 0.2)
MORE = ((0, 0), (0, 0), (3, 4), (8, 9))

#: From this p-value up the failures are like those that the prompt has as it is: nothing was noticed.
LIKE_LUCK = 0.2

#: Runs of each case and instruction at most, with one way to break it; of few cases so many more than one.
MOST_PER_CASE, LEAST_MORE = 2, 6

#: With the prompt as it is a third of a run more for each case and instruction, or so many, at most.
LEAST_WHOLE = 24

#: Cases that are under way at once are at least this many, where there are several instructions.
AT_ONCE = 200


@dataclass(frozen=True)
class Sample:
    """One run of a case.

    :param text: of the prompt; None for the one in the file.
    :param number: of the sample.
    """

    text: str | None
    case: str
    number: int


#: Runs all of them together; of each whether it failed, None where it has no verdict. What is missing was
#: not run.
RunSamples = Callable[[Collection[Sample]], Mapping[Sample, bool | None]]

T = TypeVar("T")

#: What asks for samples, is sent what came of them, and ends with what was found.
_Step = Generator[Collection[Sample], Mapping[Sample, bool | None], T]
Asking = _Step[Finding]


@dataclass(frozen=True)
class Target:
    """An instruction with the texts that it is broken in.

    :param line: of the file, from 1.
    """

    instruction: Instruction
    line: int
    texts: Sequence[tuple[Breaking, str]]


@dataclass
class _Try:
    """One way to break an instruction, and what came of it.

    :param room: how many runs are left for the instruction.
    :param failed: the cases that failed in their first run, in order.
    :param asked: how often each of these was asked after that.
    :param screened: those of these answers that say whether a case fails again, and are in no test.
    :param tested: those that are; a case is tested when it has failed again.
    """

    way: Breaking
    text: str
    room: int
    run: int = 0
    failed: list[str] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    screened: dict[str, list[bool]] = field(default_factory=dict)
    tested: dict[str, list[bool]] = field(default_factory=dict)
    p: float = 1.0
    noticed: bool = False

    def next_samples(self, case: str, count: int) -> list[Sample]:
        """So many further runs of a case, or as many as there is room for."""
        count = max(0, min(count, self.room))
        first = self.asked[case] + 1
        self.asked[case] += count
        self.room -= count
        return [Sample(self.text, case, number) for number in range(first, first + count)]

    @property
    def failed_again(self) -> list[str]:
        """The cases of which a later run has failed as well."""
        return [case for case in self.failed if any(self.screened.get(case, ()))]


class Mutating:
    """Tries the instructions of one prompt.

    :param cases: ids of those that pass with the prompt as it is.
    :param alpha: how often luck may pass for a case that notices, for each instruction.
    """

    def __init__(self, run: RunSamples, cases: Sequence[str], *, alpha: float, seed: int) -> None:
        self._run = run
        self._cases = list(cases)
        random.Random(f"{seed}-mutate").shuffle(self._cases)
        self._alpha = alpha
        #: How many instructions are tried at the same time.
        self.together = max(1, ceil(AT_ONCE / max(1, len(self._cases))))
        #: Of each case its fresh answers with the prompt as it is, by number: all instructions share them.
        self._whole: defaultdict[str, dict[int, bool | None]] = defaultdict(dict)
        self._whole_room = 0

    def findings(self, targets: Sequence[Target]) -> Iterator[Finding]:
        """What came of each, in order; some of them are tried at the same time."""
        self._whole_room = max(LEAST_WHOLE, len(self._cases) * len(targets) // 3)
        for start in range(0, len(targets), self.together):
            yield from self._together([self._asking(each) for each in targets[start : start + self.together]])

    def _together(self, asking: Sequence[Asking]) -> Iterable[Finding]:
        found: dict[int, Finding] = {}
        wanted = {number: next(each) for number, each in enumerate(asking)} if self._cases else {}
        while wanted:
            got = self._run(dict.fromkeys(sample for of_one in wanted.values() for sample in of_one))
            for number in list(wanted):
                try:
                    wanted[number] = asking[number].send(got)
                except StopIteration as ended:
                    found[number] = ended.value
                    del wanted[number]
        return [found[number] for number in sorted(found)]

    def _asking(self, target: Target) -> Asking:
        tries: list[_Try] = []
        room = max(MOST_PER_CASE * len(self._cases), len(self._cases) + LEAST_MORE)
        for way, text in target.texts:
            tries.append(tried := _Try(way, text, room))
            yield from self._try(tried)
            if tried.noticed:
                break
            room = tried.room + len(self._cases)  # a further way may run each case once more
        return _finding(target, tries)

    def _try(self, tried: _Try) -> _Step[None]:
        first, others = self._cases[:FIRST], self._cases[FIRST:]
        yield from self._run_once(tried, first)
        if others and len(tried.failed) < CLEAR:
            yield from self._run_once(tried, others)
            others = []
        if len(tried.failed) >= CLEAR:
            yield from self._test(tried, tried.failed[:MOST_TESTED], 0)
            if tried.noticed:
                return
            # They have shown whether they fail again; what chose a case is no evidence for it.
            tried.screened, tried.tested = tried.tested, {}
        if others:
            yield from self._run_once(tried, others)
        yield from self._screen(tried)
        for look in range(1, len(SHARES)):
            if tried.failed_again and not tried.noticed:
                yield from self._test(tried, tried.failed_again[:MOST_TESTED], look)

    def _run_once(self, tried: _Try, cases: Sequence[str]) -> _Step[None]:
        cases = cases[: max(0, tried.room)]
        tried.room -= len(cases)
        got = yield [Sample(tried.text, case, 0) for case in cases]
        ends = {case: got.get(Sample(tried.text, case, 0)) for case in cases}
        tried.run += sum(end is not None for end in ends.values())
        tried.failed += [case for case, end in ends.items() if end]

    def _screen(self, tried: _Try) -> _Step[None]:
        """See which of the cases that failed do so again."""
        for count in range(1, SCREENING + 1):
            wanted = [
                sample
                for case in tried.failed[:MOST_SCREENED]
                if len(ends := tried.screened.setdefault(case, [])) < count and not any(ends)
                for sample in tried.next_samples(case, 1)
            ]
            if wanted:
                got = yield wanted
                _take(tried.screened, wanted, got)

    def _test(self, tried: _Try, cases: Sequence[str], look: int) -> _Step[None]:
        """Whether fresh answers of these cases show that it was no luck."""
        error = SHARES[look] * self._alpha
        broken, whole = answers_needed(len(cases), error)
        broken, whole = broken + MORE[look][0], whole + MORE[look][1]
        of_broken, of_whole = list[Sample](), list[Sample]()
        for case in cases:
            have = len(tried.tested.setdefault(case, []))
            of_broken += tried.next_samples(case, broken - have)
            numbers = [number for number in range(1, whole + 1) if number not in self._whole[case]]
            of_whole += [Sample(None, case, number) for number in numbers]
        of_whole = of_whole[: max(0, self._whole_room)]
        got = (yield [*of_broken, *of_whole]) if of_broken or of_whole else {}
        _take(tried.tested, of_broken, got)
        for sample in of_whole:
            # Another instruction may have asked for the same at the same time.
            self._whole_room -= sample.number not in self._whole[sample.case]
            self._whole[sample.case][sample.number] = got.get(sample)
        tried.p = chance_of([self._again(tried.tested[case], case, whole) for case in cases])
        tried.noticed = tried.p <= error + EPSILON

    def _again(self, broken: Sequence[bool], case: str, most: int) -> Again:
        """The fresh answers of a case: as many as were planned, also where others have asked for more.

        Whether they did may have hung on what the answers were.
        """
        whole = [end for number, end in self._whole[case].items() if number <= most and end is not None]
        return Again(len(broken), sum(broken), len(whole), sum(whole))


def _take(into: dict[str, list[bool]], samples: Sequence[Sample], got: Mapping[Sample, bool | None]) -> None:
    """Note of each sample with a verdict whether it failed."""
    for sample in samples:
        if (end := got.get(sample)) is not None:
            into[sample.case].append(end)


def _finding(target: Target, tries: Sequence[_Try]) -> Finding:
    """What the tries of one instruction say: the one that was noticed, else the one that came closest."""
    text, ways = target.instruction.text, tuple(each.way for each in tries)
    told = next((each for each in tries if each.noticed), None) or min(tries, key=lambda each: each.p)
    if not told.run:
        why = "no case could be run without it"
        return Finding(text, target.line, Notice.NOT_TRIED, ways=ways, why=why)
    again = [case for case, ends in told.tested.items() if 2 * sum(ends) > len(ends)]
    verdict = Notice.UNNOTICED
    if told.noticed:
        verdict = Notice.NOTICED
    elif again and told.p <= LIKE_LUCK:
        verdict = Notice.CANNOT_TELL
    return Finding(
        text,
        target.line,
        verdict,
        told.way,
        ways,
        run=told.run,
        failed=len(told.failed),
        asked_again=sum(case in told.asked for case in told.failed),
        failed_again=len(again),
        p=told.p,
        failing=tuple((again or told.failed)[:MOST_TESTED]),
    )


def passing(run: RunSamples, cases: Sequence[str]) -> tuple[list[str], list[str]]:
    """Which of the cases pass with the prompt as it is, and which fail; the others have no verdict."""
    got = run([Sample(None, case, 0) for case in cases])
    ends = {sample.case: end for sample, end in got.items()}
    return [c for c in cases if ends.get(c) is False], [c for c in cases if ends.get(c)]
