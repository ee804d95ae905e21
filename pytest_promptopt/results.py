"""What a run tells: of its candidates and iterations, of each prompt, and of the whole.

Frozen and plain as the records that it is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pytest_promptopt.records import FlakyCase, Role, Spend, Split
from pytest_promptopt.statistics import (
    SIGN_TEST,
    PairedTest,
    sign_test,
    wilson_interval,
)


class CandidateVerdict(StrEnum):
    """What became of a candidate."""

    UNDECIDED = ""
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    #: It was not run: a rule forbids its text, or there is none.
    REFUSED = "refused"
    #: It is part of another candidate, which was judged in its place.
    MERGED = "merged"


class ConfirmationVerdict(StrEnum):
    """What fresh answers say of a gain; only `IMPROVED` is more than noise."""

    IMPROVED = "improved"
    NOT_SHOWN = "not shown"
    WORSE = "worse"


class PromptOutcome(StrEnum):
    """How a run ended for a prompt."""

    IMPROVED = "improved"
    #: No candidate was better.
    UNCHANGED = "unchanged"
    #: The gain may be noise.
    NOT_SHOWN = "not shown"
    #: On fresh answers or on held-out cases, beyond chance.
    WORSE = "worse"
    #: No case failed, so it was left alone.
    PASSING = "passing"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class CandidateResult:
    """What became of one candidate.

    :param id: ``iteration.number``, both from 1.
    :param prompts: the prompt files it rewrites.
    :param direction: the line of attack it was told to take.
    :param reason: the optimizer's own stated reason, unverified.
    :param rate: its pass rate on the cases of `split`, estimated if it was run on some of them only; None
        when it was not run by itself.
    :param why: the reason for its verdict, in a sentence.
    :param fixed: cases that fail under the incumbent and pass under it; `broken` the other way round.
    :param split: None when it was not run.
    :param run: on how many cases of `split` it was run and compared: with an answer under both texts, and as
        an example in neither.
    """

    id: str
    prompts: tuple[str, ...]
    direction: str
    reason: str
    rate: float | None
    verdict: CandidateVerdict
    why: str
    fixed: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    split: Split | None = None
    run: int = 0


@dataclass(frozen=True)
class Foresight:
    """A pass rate over all counted cases, of which only some were run.

    :param rate: what is expected; `low` and `high` are the ends of its 90 % interval, `sd` its standard
        deviation. All shares from 0 to 1; without a case not run they are the rate and 0.
    :param run: how many of the `cases` the text was run on.
    """

    rate: float
    low: float
    high: float
    sd: float
    run: int
    cases: int


@dataclass(frozen=True)
class Iteration:
    """One iteration of a search.

    :param prompts: those that its candidates rewrite.
    :param before: the incumbent's pass rate before it, on the cases of its phase; `best` after it.
    :param unverified: training cases that the incumbent was not run on yet: `best` is foreseen there.
    :param critiques: how often a model was asked what is wrong with the worst answers.
    :param at_fault: of a pipeline which stages the failing cases were put down to when it began, in words.
    :param foresight: `best` with its interval; None in the validation phase, whose cases are all run.
    :param spend: what was paid since the iteration before it ended, or since the original was measured.
    """

    number: int
    phase: str
    prompts: tuple[str, ...]
    candidates: tuple[CandidateResult, ...]
    best: float
    spend: Spend
    elapsed: float
    before: float | None = None
    unverified: int = 0
    foresight: Foresight | None = None
    critiques: int = 0
    at_fault: str = ""


@dataclass(frozen=True)
class SplitScore:
    """Pass rates of one split before and after; None where it was not measured.

    :param cases: all cases of the split, with the `errored` ones and without those that were skipped.
    :param fixed: how many cases failed before and pass after; `broken` the other way round.
    :param raised: how many further cases have a higher rate after and still fail; `lowered` the other way
        round: they failed before.
    :param unverified: how many further cases the text after was not run on; no figure counts them.
    :param examples: how many of the cases stand in the text as examples; each was run without its own one.
    :param tested: what chance explains of the changes of the rates; None where `fixed` and `broken` tell.
    :param effective: how many cases of one weight say as much as those in the rates, which may have several;
        None for as many as there are.
    """

    split: Split
    cases: int
    before: float | None
    after: float | None
    errored: int = 0
    fixed: int = 0
    broken: int = 0
    raised: int = 0
    lowered: int = 0
    unverified: int = 0
    examples: int = 0
    tested: PairedTest | None = None
    effective: float | None = None

    def interval(self, rate: float) -> tuple[float, float]:
        """The 95 % interval of one of its rates."""
        cases = self.cases - self.errored if self.effective is None else self.effective
        return wilson_interval(rate, cases)

    @property
    def chance(self) -> PairedTest:
        """What chance explains of the change between the two texts."""
        if self.tested is not None:
            return self.tested
        return PairedTest(sign_test(self.fixed, self.broken), sign_test(self.broken, self.fixed), SIGN_TEST)


@dataclass(frozen=True)
class Confirmation:
    """What fresh answers say of a gain, on train and validation cases.

    :param estimate: the change of the pass rate over all these cases, from -1 to 1.
    :param p: the one-sided p-value of a gain, corrected for the looks: at most alpha when it is shown.
    :param pairs: fresh answers under both texts to the same case; `better` and `worse` of them differ.
    :param calls: what was paid for them.
    :param detectable: the least gain that so many pairs show nine times out of ten; None without a pair.
    :param why: what ended it before its time, in a sentence; empty when nothing did.
    :param needed: how many more calls will probably show a gain that is not shown; 0 when none will.
    :param test: the name of the test that `p` is of.
    """

    verdict: ConfirmationVerdict
    estimate: float
    p: float
    pairs: int
    better: int
    worse: int
    calls: int
    detectable: float | None
    why: str = ""
    needed: int = 0
    test: str = SIGN_TEST


@dataclass(frozen=True)
class CatchUp:
    """The training and validation cases that the search had spared, run at last.

    :param rate: the new text's pass rate then on all cases of their splits; `failing` of these cases fail.
    :param calls: what was paid for them.
    """

    cases: int
    rate: float | None
    failing: int
    calls: int


@dataclass(frozen=True)
class LabelScore:
    """The train and validation cases that expect one label and have a result under both texts.

    :param field: the key of JSON answers that is counted; empty for the answer itself.
    :param before: how many of the `cases` are right under the text before; `after` under the new one.
    :param instead: the wrong answers under the new one and how often each came, most frequent first; ``""``
        stands for texts that are no label and came once, or are long.
    """

    field: str
    label: str
    cases: int
    before: int
    after: int
    instead: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class SameAnswer:
    """An answer that nearly always comes, though the train and validation cases expect different ones.

    :param field: the key of JSON answers that is counted; empty for the answer itself.
    :param count: to how many of the `cases` it came.
    """

    field: str
    answer: str
    count: int
    cases: int


@dataclass(frozen=True)
class ModelChange:
    """What a new text changed with one of several models."""

    model: str
    scores: tuple[SplitScore, ...]


@dataclass(frozen=True)
class Migration:
    """Held-out cases with the model that a prompt was for, and with the one that it is for now.

    :param old: decides nothing. Without a new text, or without held-out cases, rates are missing in both.
    """

    old: ModelChange
    new: ModelChange


@dataclass(frozen=True)
class StageAtFault:
    """Which stage of a pipeline lost a case that fails.

    :param stage: its prompt; empty where that is unclear.
    :param share: how probably it is this stage, from 0 to 1.
    :param by: what shows it: ``ended`` (before it called another stage), ``grade``, ``text`` (the case under
        another text of the stage), ``swap`` (with another answer of it), ``judge``, ``repeats`` (another one
        only repeats its input), ``others`` (other failing cases); empty where it is unclear.
    :param why: it in a sentence.
    :param frozen: whether this stage may not be rewritten.
    """

    case: str
    stage: str = ""
    share: float = 0.0
    by: str = ""
    why: str = ""
    frozen: bool = False


@dataclass(frozen=True)
class PromptResult:
    """What a run did for one prompt file.

    :param confirmation: None when no candidate was better, or the run ended before.
    :param stop: the name of the halting rule, `why` its sentence.
    :param accepted: whether `after` may be put into the file: its gain is confirmed, or the user takes the
        best there is, and neither held-out cases nor answers without a verdict speak against it.
    :param written: whether it was.
    :param unwritten: why a changed text was not: ``dry run``, ``interrupted``, an error; else empty.
    :param pipeline: all prompts that were refined together since they share cases, itself included: what is
        said of stop, scores, `fixed`, `broken`, `flaky` is said of them together. Empty for one on its own.
    :param rates: the pass rates over their samples, before and after, of the cases `fixed` and `broken`.
    :param flaky: the cases that both passed and failed under the text as it was, fresh answers included.
    :param caught_up: None when no case had been spared.
    :param labels: right and wrong by what is expected; empty where that is not known or they are no labels.
    :param same_answers: what `after` answers to nearly every train and validation case.
    :param examples: the training cases that stand in `after` as examples.
    :param models: the scores with each of several models; empty with one.
    :param worse_with: the model with which the new text is shown to be worse, so that it was left alone.
    :param at_fault: of a pipeline the stage at fault of each case that failed under the text before, by all
        that is known in the end.
    :param migration: what became of it with the old and the new model; None without a migration.
    :param verbosity: a warning where only a judge likes its longer answers better; else empty.
    :param asked_before: how often a gain on these train and validation cases was tested before, each time
        with the chance alpha to be shown by luck; `heldout_before`: how often these held-out cases were
        scored.
    """

    prompt: str
    before: str
    after: str
    outcome: PromptOutcome
    stop: str
    why: str
    scores: tuple[SplitScore, ...]
    iterations: tuple[Iteration, ...] = ()
    fixed: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    accepted: bool = False
    written: bool = False
    unwritten: str = ""
    pipeline: tuple[str, ...] = ()
    note: str = ""
    confirmation: Confirmation | None = None
    rates: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    flaky: tuple[FlakyCase, ...] = ()
    caught_up: CatchUp | None = None
    labels: tuple[LabelScore, ...] = ()
    same_answers: tuple[SameAnswer, ...] = ()
    examples: tuple[str, ...] = ()
    verbosity: str = ""
    asked_before: int = 0
    heldout_before: int = 0
    models: tuple[ModelChange, ...] = ()
    worse_with: str = ""
    migration: Migration | None = None
    at_fault: tuple[StageAtFault, ...] = ()


@dataclass(frozen=True)
class RunResult:
    """One `--optimize` run, whole.

    :param strategy: the name of the way it searched.
    :param errors: what went wrong in hooks, strategies and models, in sentences with the user's
        ``file:line``; the session fails.
    :param compared: of a comparison the run of each strategy, whose `spend` is what it would have paid alone;
        `prompts` is empty then and `spend` what was really paid.
    """

    id: str
    prompts: tuple[PromptResult, ...]
    spend: Mapping[Role, Spend]
    elapsed: float
    interrupted: bool = False
    journal: str = ""
    notes: tuple[str, ...] = ()
    strategy: str = "refine"
    compared: tuple[RunResult, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def all_errors(self) -> tuple[str, ...]:
        """Its own and those of the strategies compared."""
        return tuple(dict.fromkeys((*self.errors, *(e for run in self.compared for e in run.errors))))
