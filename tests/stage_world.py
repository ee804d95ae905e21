"""A world of pipelines: each stage does a step by rules that its prompt states, and one stage lacks a rule.

A stage reads ``value 17 of ticket 23``, takes a step with the value and passes both on. The ticket says which
rule the step needs. Where the prompt does not state it, or states the contrary, the step is wrong, and so
is everything after it. The optimizer mends a prompt only when its request shows a failing case that needs
the rule at this very stage.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, ClassVar

from pytest_promptopt.optimizer.candidates import Results
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.optimizer.stage_faults.naming import StageFault
from pytest_promptopt.records import (
    Call,
    CaseResult,
    Failure,
    Outcome,
    Request,
    Role,
    Spend,
    StageGrade,
    Status,
)
from pytest_promptopt.strategies.refine.search import RefineSearch
from tests.refine_world import TRAIN, VALIDATION, FakePrompt, Need, World, new_prompt

#: Rules of each stage; a ticket needs one of them there.
RULES = 4
TRAINING, VALIDATING = 40, 20

#: Chances: that the optimizer writes the missing rule when it is shown, and that a judge names the stage that
#: answered wrongly first.
FINDS = 0.6
JUDGES = 0.8

_GIVEN = re.compile(r"value (\d+) of ticket (\d+)")
_STAGE = re.compile(r"^Stage (\d+):", re.MULTILINE)


def chance(*parts: object) -> float:
    """The same number from 0 to 1 for the same parts."""
    digest = blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def rule(stage: int, number: int) -> str:
    return f"rule{stage}x{number}"


@dataclass
class Stages(World):
    """Target, optimizer and judge of one pipeline with one fault.

    :param stages: how many; `fault` the one that lacks `missing`, from 0.
    :param wrong: it states the contrary; else it says nothing of it.
    :param noise: the chance that a run has a slip in one of its stages.
    :param graded: the test grades every stage.
    :param judging: a judge that is asked names stages, and is right with the chance `accuracy`.
    :param identity: a stage that repeats what it is given; None for none.
    :param frozen: a stage that may not be rewritten; None for none.
    :ivar requests_for: requests for texts of each prompt until the fault was mended, and to the judge; `late`
        those after it; `calls_for` the target calls of their candidates until then.
    """

    needs: Sequence[Need] = ()
    stages: int = 3
    fault: int = 0
    missing: int = 0
    wrong: bool = False
    noise: float = 0.0
    graded: bool = False
    judging: bool = False
    accuracy: float = JUDGES
    identity: int | None = None
    frozen: int | None = None
    seed: int = 0
    known: set[str] = field(default_factory=set)
    requests_for: Counter[str] = field(default_factory=Counter)
    calls_for: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    tries: int = 0
    search: WatchedSearch | None = None

    def __post_init__(self) -> None:
        self.all_prompts = [FakePrompt(f"s{k}.md", self._start(k), frozenset({"given"})) for k in self._all]
        self.prompts = [p for k, p in enumerate(self.all_prompts) if k != self.frozen]
        self.needs = [
            Need(f"test_chain[{split}-{number}]", "", split, tuple(p.name for p in self.all_prompts))
            for split, count in ((TRAIN, TRAINING), (VALIDATION, VALIDATING))
            for number in range(count)
        ]
        self.by_id = {need.id: need for need in self.needs}
        self.replies = self.reply
        world = self

        class Watching(WatchedSearch):
            owner = world

        self.strategy = Watching

    @property
    def _all(self) -> range:
        return range(self.stages)

    def _start(self, stage: int) -> str:
        """The text to begin with: one rule is missing, or wrong, in the stage at fault."""
        lines = [f"Stage {stage}: work on {{{{ given }}}}."]
        for number in range(RULES):
            at_fault = (stage, number) == (self.fault, self.missing)
            if not at_fault:
                lines.append(f"Mind {rule(stage, number)}.")
            elif self.wrong:
                lines.append(f"Mind not {rule(stage, number)}.")
        return "\n".join(lines)

    # ------------------------------------------------------------------------------------------------- target

    def ticket(self, case: str) -> int:
        """Every fourth case asks the same as the one before it, in other words."""
        number = int(re.sub(r"\D", "", case)) + 1000 * ("validation" in case)
        return int(chance(self.seed, "ticket", number - (number % 4 == 3)) * 10**6)

    def question(self, case: str) -> str:
        ticket, polite = self.ticket(case), int(re.sub(r"\D", "", case)) % 4 == 3
        return f"value {ticket % 97} of ticket {ticket}{' please' * polite}"

    def needed(self, stage: int, ticket: int) -> int:
        return ticket // int(RULES**stage) % RULES

    def right(self, stage: int, given: str, off: int = 0) -> str:
        """The right answer of a stage, or one that is off."""
        if stage == self.identity:
            return given
        found = _GIVEN.search(given)
        assert found is not None
        return f"value {(int(found[1]) * 31 + stage + off) % 9973} of ticket {found[2]}"

    def answers(
        self, case: str, texts: Mapping[str, str], sample: int, given: Mapping[str, str]
    ) -> list[Call]:
        """The calls of one run.

        :param given: what is said in the place of the model, by key.
        """
        text, calls = self.question(case), []
        for stage in self._all:
            prompt = self.all_prompts[stage].name
            key = f"{prompt}/{text}/{sample}/{texts[prompt]}"
            if key in given:
                answer = given[key]
            else:
                if key not in self.known:
                    self.known.add(key)
                    self.calls += 1
                answer = self._step(stage, text, texts[prompt], sample)
            calls.append(Call(prompt, {"given": text}, key, answer, "end_turn", None, None, 0.1, False))
            text = answer
        return calls

    def _step(self, stage: int, given: str, prompt: str, sample: int) -> str:
        found = _GIVEN.search(given)
        assert found is not None
        wanted = rule(stage, self.needed(stage, int(found[2])))
        follows = f"Mind {wanted}." in prompt and f"not {wanted}" not in prompt
        slips = chance(self.seed, prompt, given, sample) < 1 - (1 - self.noise) ** (1 / self.stages)
        return self.right(stage, given, off=7 * (slips or not follows))

    def truth(self, case: str) -> list[str]:
        """The right answer of each stage."""
        text, told = self.question(case), []
        for stage in self._all:
            text = self.right(stage, text)
            told.append(text)
        return told

    @property
    def mended(self) -> bool:
        """Whether the best text has the rule that was missing."""
        assert self.search is not None
        at_fault = next(prompt for prompt in self.all_prompts if prompt.name == f"s{self.fault}.md")
        lines = self.search.best.text(at_fault).splitlines()
        wanted = rule(self.fault, self.missing)
        return f"Mind {wanted}." in lines and f"Mind not {wanted}." not in lines

    def planted(self, case: str) -> bool:
        """Whether the case, under the texts at the start, is right up to the fault and fails for it."""
        texts = {prompt.name: prompt.prose for prompt in self.all_prompts}
        told = [call.text for call in self.answers(case, texts, 0, {})]
        right_before = told[: self.fault] == self.truth(case)[: self.fault]
        return right_before and self.needed(self.fault, self.ticket(case)) == self.missing

    def _results(self, trial: Trial) -> Results:
        before = self.calls
        texts = {prompt.name: trial.overlay.get(prompt.name, prompt.prose) for prompt in self.all_prompts}
        (sample,) = trial.samples or (0,)
        found = tuple(self._result(self.by_id[id], texts, sample, trial.answers) for id in trial.cases)
        if self.search is not None and self.search.state.begun and trial.samples is None:
            best = self.search.best
            changed = [p.name for p in self.prompts if texts[p.name] != best.text(p)]
            if changed and not self.mended:
                self.calls_for["+".join(changed)] += self.calls - before
        return found

    def _result(
        self, need: Need, texts: Mapping[str, str], sample: int, given: Mapping[str, str]
    ) -> CaseResult:
        calls, truth = self.answers(need.id, texts, sample, given), self.truth(need.id)
        passed = calls[-1].text == truth[-1]
        grades = tuple(
            StageGrade(call.prompt, float(call.text == right), "")
            for call, right in zip(calls, truth, strict=True)
            if self.graded
        )
        failure = None
        if not passed:
            message = f"assert {calls[-1].text!r} == {truth[-1]!r}"
            failure = Failure("AssertionError", message, "test.py:1", "==", truth[-1], calls[-1].text)
        status = Status.PASSED if passed else Status.FAILED
        outcome = Outcome(
            need.id,
            status,
            float(passed),
            sample,
            failure,
            calls=tuple(calls),
            expected=truth[-1],
            grades=grades,
        )
        return CaseResult(need.record(), (outcome,))

    def spend(self) -> Mapping[Role, Spend]:
        return {Role.TARGET: Spend(calls=self.calls), **super().spend()}

    # ---------------------------------------------------------------------------------------------- optimizer

    def reply(self, request: Request) -> str:
        told = request.messages[-1].content
        if (
            "reads the traces" in request.messages[0].content
            or "read the traces" in request.messages[0].content
        ):
            self.requests_for["judge"] += 1
            return self._judged(told) if self.judging else "<no>I cannot tell.</no>"
        current = told.partition("<current_prompt>")[2].partition("</current_prompt>")[0].strip()
        stage = int(_STAGE.search(current)[1])  # type: ignore[index]
        (self.late if self.mended else self.requests_for)[f"s{stage}.md"] += 1
        shown = told.partition("<failures")[2].partition("</failures>")[0]
        lines = [line for line in current.splitlines() if line.strip()]
        number = sum(self.requests_for.values()) + sum(self.late.values())
        for _, ticket in _GIVEN.findall(shown):
            wanted = rule(stage, self.needed(stage, int(ticket)))
            stated = f"Mind {wanted}." in lines
            if not stated and chance(self.seed, number, "finds") < FINDS:
                lines = [line for line in lines if f"not {wanted}" not in line]
                return new_prompt("\n".join([*lines, f"Mind {wanted}."]), reason="a rule was missing")
        return new_prompt("\n".join([*lines, f"Work with care, and look twice at {number}."]), reason="care")

    def _judged(self, told: str) -> str:
        lines = []
        for block in told.partition("<failing_traces>")[2].split("\nCASE ")[1:]:
            number = int(block.split("\n")[0])
            found = re.findall(r"(s\d+), answer: \"(value \d+ of ticket (\d+))", block)
            truth = self._truth_of(int(found[0][2]))
            first = next((name for name, said, _ in found if said != truth[int(name[1:])]), found[-1][0])
            others = [name for name, *_ in found if name != first]
            draw = chance(self.seed, number, told, "judge")
            named = first if draw < self.accuracy else others[int(draw * 1e6) % len(others)]
            lines.append(f"CASE {number}: {named}")
        return "<said>\n" + "\n".join(lines) + "\n</said>"

    def _truth_of(self, ticket: int) -> list[str]:
        case = next(need.id for need in self.needs if self.ticket(need.id) == ticket)
        return self.truth(case)


class WatchedSearch(RefineSearch):
    """Tells what was named before the first request, and in the end."""

    owner: ClassVar[Stages]

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.owner.search = self
        self.first: dict[str, StageFault] = {}
        self.last: dict[str, StageFault] = {}

    def _named(self) -> dict[str, StageFault]:
        return self._faults.named(self.original.overlay, self.original.evidence(TRAIN))

    def run_trials(self, trials: Sequence[Trial]) -> list[Results]:
        before = self.owner.calls
        measured = super().run_trials(trials)
        if any(trial.samples is not None for trial in trials):  # a run to find the stage at fault
            self.owner.tries += self.owner.calls - before
        return measured

    def _make_candidates(self, *given: Any, **named: Any) -> None:
        if not self.iterations:
            self.first = self._named()
        super()._make_candidates(*given, **named)

    def conclude(self) -> None:
        super().conclude()
        self.last = self._named()
