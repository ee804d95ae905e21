"""What one strategy would have paid alone, in a session where answers are shared by several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

from pytest_promptopt.budget.ledger import SCORING_TIME
from pytest_promptopt.errors import ModelError
from pytest_promptopt.optimizer.halting import HaltReason
from pytest_promptopt.optimizer.protocols import Ask, Evaluator, StopRun, Trial
from pytest_promptopt.records import Answer, Case, CaseResult, Overlay, Request, Role, Spend, Usage
from pytest_promptopt.unpatched import time


class MeteredEvaluator:
    """An `Evaluator` and an `Ask` that count every question once, whoever paid for its answer.

    A batch that does not fit into what is left is not begun: `StopRun`. Each of its cases is expected to make
    as many calls as before, or one if it never ran. Retries are not counted.

    :param max_calls: the strategy's share of the ceiling; None for no limit.
    :param max_tokens: the same of tokens, `max_cost` in US dollars and `max_time` in seconds from now on;
        checked before each batch, which may go past it.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        ask: Ask,
        *,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        max_cost: float | None = None,
        max_time: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._evaluator = evaluator
        self._ask = ask
        self._max_calls = max_calls
        self._max_tokens = max_tokens
        self._max_cost = max_cost
        self._max_time = max_time
        self._clock = clock
        self._started = clock()
        self._aside = 0
        self._spend = {role: Spend() for role in Role}
        self._charged: set[str] = set()
        self._ran: set[tuple[object, ...]] = set()
        self._calls_of: dict[str, int] = {}
        self._cases = {case.id: case for case in evaluator.cases}

    @property
    def cases(self) -> Sequence[Case]:
        return self._evaluator.cases

    def spend(self) -> Mapping[Role, Spend]:
        return dict(self._spend)

    def left(self) -> int | None:
        """Calls that the strategy may still make; None without a ceiling."""
        if self._max_calls is None:
            return None
        return max(0, self._max_calls - sum(self._spend.values(), Spend()).calls)

    def reserve_for_scoring(self, calls: int) -> None:
        """Keep `calls` of the share free, for scoring the result.

        Tokens and money are kept for as many calls at their average price so far, and a quarter of the time.
        """
        self._aside = calls

    def evaluate(self, trials: Sequence[Trial]) -> list[tuple[CaseResult, ...]]:
        runs = set(chain.from_iterable(map(self._runs, trials))) - self._ran
        self._check(sum(self._calls_of.get(str(case), 1) for case, *_ in runs))
        measured = self._evaluator.evaluate(trials)
        self._ran |= runs
        for outcome in (o for results in measured for result in results for o in result.outcomes):
            self._calls_of[outcome.case] = max(self._calls_of.get(outcome.case, 1), len(outcome.all_calls))
            for call in outcome.all_calls:
                self._charge(Role.TARGET, call.key, call.usage, call.cost)
        return measured

    def ask(self, requests: Sequence[Request]) -> list[Answer | ModelError]:
        self._check(len({request.key for request in requests} - self._charged))
        answers = self._ask(requests)
        for request, answer in zip(requests, answers, strict=True):
            usage, cost = (answer.usage, answer.cost) if isinstance(answer, Answer) else (None, None)
            self._charge(Role.OPTIMIZER, request.key, usage, cost)
        return answers

    def _runs(self, trial: Trial) -> Iterator[tuple[object, ...]]:
        """What tells the runs of a trial apart: another text of another prompt is the same question."""
        for id in trial.cases:
            case = self._cases[id]
            texts = _texts(trial.overlay, case)
            for sample in range(case.samples) if trial.samples is None else trial.samples:
                yield (id, sample, *texts, *trial.answers.items())

    def _check(self, calls: int) -> None:
        left = self.left()
        if left is not None and calls > left - self._aside:
            kept = f", {self._aside} of them set aside for scoring the result" if self._aside else ""
            raise StopRun(
                HaltReason.BUDGET,
                f"the strategy's share of {self._max_calls} calls{kept} does not hold the next {calls} "
                "(--promptopt-max-calls)",
            )
        if calls and (spent := self._spent_up()):
            kept = " but for what is set aside for scoring the result" if self._aside else ""
            raise StopRun(
                HaltReason.BUDGET, f"the strategy's share of {spent[0]} is spent{kept} ({spent[1]})"
            )

    def _spent_up(self) -> tuple[str, str] | None:
        """The first of the shares without a unit of a call that is spent, and its option; None for none."""
        spend, target = sum(self._spend.values(), Spend()), self._spend[Role.TARGET]
        aside = self._aside / max(1, target.calls)
        tokens, cost, seconds = self._max_tokens, self._max_cost, self._max_time
        if tokens is not None and _tokens(spend) + aside * _tokens(target) >= tokens:
            return f"{tokens:,} tokens", "--promptopt-max-tokens"
        if cost is not None and spend.cost + aside * target.cost >= cost:
            return f"${cost:.2f}", "--promptopt-max-cost"
        kept = SCORING_TIME * bool(self._aside)
        if seconds is not None and self._clock() - self._started >= seconds * (1 - kept):
            return f"{seconds:g} s", "--promptopt-max-time"
        return None

    def _charge(self, role: Role, key: str, usage: Usage | None, cost: float | None) -> None:
        if key in self._charged:
            return
        self._charged.add(key)
        self._spend[role] += Spend(
            calls=1,
            input_tokens=usage.total - usage.output_tokens if usage else 0,
            output_tokens=usage.output_tokens if usage else 0,
            cost=cost or 0.0,
            unpriced=cost is None,
        )


def _tokens(spend: Spend) -> int:
    return spend.input_tokens + spend.output_tokens


def _texts(overlay: Overlay, case: Case) -> Iterator[tuple[str, str]]:
    return ((name, overlay[name]) for name in case.prompts if name in overlay)
