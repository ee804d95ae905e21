"""An evaluator that makes no call for a text which fails the checks, whichever strategy wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pytest_promptopt.optimizer.candidate_checks import CandidateChecks
from pytest_promptopt.optimizer.candidates import Results
from pytest_promptopt.optimizer.protocols import Evaluator, Prompt, Trial
from pytest_promptopt.records import Case, CaseResult, Outcome, Overlay, Split, Status

#: Of so many cases without an answer it is the text that is to blame.
ENOUGH_TO_SAY = 3

#: The name of a prompt and a text for it.
_Text = tuple[str, str]


class ScreeningEvaluator:
    """An `Evaluator` for one group of prompts that refuses texts that could not be written into the file.

    Under a refused text every case is errored with the reason, without a call. The same happens when a text
    cannot be rendered for a case that the text in the file can be rendered for, and when no case has ever had
    an answer under it, as with one that is too long for the model: each further call would be for nothing.

    :param prompts: whose texts may be tried.
    """

    def __init__(self, evaluator: Evaluator, prompts: Sequence[Prompt]) -> None:
        self._evaluator = evaluator
        self._prompts = {prompt.name: prompt for prompt in prompts}
        self._cases = {case.id: case for case in evaluator.cases}
        self._original: dict[str, CaseResult] = {}
        self._checks = CandidateChecks()
        self._faults: dict[_Text, str | None] = {}
        self._unusable: dict[frozenset[_Text], str] = {}
        self._answered: set[frozenset[_Text]] = set()
        #: Runs of cases that were asked for, known answers included: the same number when a run is resumed.
        self.runs = 0

    @property
    def cases(self) -> Sequence[Case]:
        return self._evaluator.cases

    def refusal(self, overlay: Overlay) -> str | None:
        """Why these texts are refused, in a sentence; None when they may be tried."""
        faults = (self._fault(name, text) for name, text in overlay.items())
        return next(filter(None, faults), None) or self._unusable.get(frozenset(overlay.items()))

    def evaluate(self, trials: Sequence[Trial]) -> list[Results]:
        refused = [self.refusal(trial.overlay) for trial in trials]
        usable = [trial for trial, why in zip(trials, refused, strict=True) if why is None]
        self.runs += sum(len(trial.cases) for trial in usable)
        measured = iter(self._evaluator.evaluate(usable) if usable else ())
        return [
            self._seen(trial, next(measured)) if why is None else self._errored(trial, why)
            for trial, why in zip(trials, refused, strict=True)
        ]

    def _fault(self, name: str, text: object) -> str | None:
        if name not in self._prompts:
            return f"{name!r} is no prompt that is searched"
        if not isinstance(text, str):
            return f"it is no text but {type(text).__name__}"
        if text == self._prompts[name].prose:
            return None
        # A text that was tried may go on, also when a later case shows that it quotes this case.
        if (name, text) not in self._faults:
            self._faults[name, text] = self._checks.fault(self._prompts[name], text)
        return self._faults[name, text]

    def _seen(self, trial: Trial, results: Results) -> Results:
        if trial.answers:  # what is said in the place of a model tells nothing of a text
            return results
        if not trial.overlay:
            self._learn(results)
        elif why := why_not_renderable(results) or self._why_without_answers(trial, results):
            self._unusable[frozenset(trial.overlay.items())] = why
            return self._errored(trial, why)
        return results

    def _why_without_answers(self, trial: Trial, results: Results) -> str | None:
        """Why no case has an answer under a text, where the one in the file has them; None where one has.

        A single case may be without one by chance.
        """
        texts = frozenset(trial.overlay.items())
        if not all(result.errored for result in results):
            self._answered.add(texts)
        known = [self._original[r.case.id] for r in results if r.case.id in self._original]
        if texts in self._answered or sum(each.rate is not None for each in known) < ENOUGH_TO_SAY:
            return None
        errors = _training_errors(results, lambda outcome: outcome.status is Status.ERRORED)
        return "no case has an answer with it" + _because(errors)

    def _learn(self, results: Results) -> None:
        """Take in what cases put into the prompts: no text may quote it, all must be renderable with it."""
        new = {r.case.id: r for r in results if r.case.id not in self._original}
        if not new:
            return
        self._original |= new
        self._checks.learn_cases(self._original.values())

    def _errored(self, trial: Trial, why: str) -> Results:
        """The results of cases under a refused text."""
        return tuple(
            CaseResult(
                case,
                tuple(
                    Outcome(case.id, Status.ERRORED, 0.0, sample, error=why)
                    for sample in (range(case.samples) if trial.samples is None else trial.samples)
                ),
            )
            for case in (self._cases[id] for id in trial.cases)
        )


def why_not_renderable(results: Sequence[CaseResult]) -> str | None:
    """Why a text cannot be used for one of these cases; None when it can for all.

    The optimizer is told, so of a case that is not for training nothing is quoted.
    """
    if not any(outcome.unrenderable for result in results for outcome in result.outcomes):
        return None
    return "it cannot be rendered for a case" + _because(
        _training_errors(results, lambda outcome: outcome.unrenderable)
    )


def _training_errors(results: Sequence[CaseResult], which: Callable[[Outcome], bool]) -> Iterator[str]:
    return (
        outcome.error
        for result in results
        if result.case.split is Split.TRAIN
        for outcome in result.outcomes
        if outcome.error and which(outcome)
    )


def _because(errors: Iterator[str]) -> str:
    error = next(errors, "")
    return f": {error}" if error else ""
