"""A world with hidden rules: a case passes when the prompt states all rules that its message needs.

The target follows every rule stated, except that a few pairs of text and case come out the other way round,
and that some sentences do harm. The optimizer reads its requests as a model would: it finds a missing rule
from a failing case with some chance, depending on the line of attack, and only few in one reply; now and then
it adds a sentence that does harm, unless lessons or passing cases warn it, or loses a sentence. No two of its
texts are worded alike.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from pytest_promptopt.optimizer.halting import HaltReason, Phase
from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.records import Answer, CaseResult, Outcome, Request, Role, Spend, Split
from tests.refine_world import TRAIN, VALIDATION, FakePrompt, Need, World, answer, new_prompt

RULES = (
    "refund",
    "invoice",
    "delay",
    "login",
    "fraud",
    "export",
    "outage",
    "quota",
    "trial",
    "tax",
    "seat",
    "api",
)
HARMS = ("guess", "shorten", "apologize", "translate", "escalate", "joke")

#: The prompt to begin with states the commonest and the rarest rule.
START = "Route {{ ticket }}. Mind refund.\nMind api."

#: Chances of the target: that a pair of text and case comes out the other way, that a harm breaks a case.
FLIPPED = 0.03
BROKEN = 0.2

#: Chances of the optimizer: to find a rule from a failing case, with a line of attack that suits it or not;
#: to add a sentence that does harm; to lose a sentence.
SUITED, UNSUITED = 0.6, 0.15
HARMFUL = 0.3
LOST = 0.04

#: What a request says of a candidate that broke cases, and of one that fixed some.
BROKE, PAID = re.compile(r"broke [1-9]"), re.compile(r"fixed [1-9]")

#: Rules that one reply adds at most.
NEW_RULES = 3


@dataclass(frozen=True)
class Message(Need):
    """A case that needs several rules."""

    rules: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return f"{self.id} about {' and '.join(self.rules)}"


def messages(train: int, validation: int, seed: int) -> list[Message]:
    """Cases that need one rule or two; the first rules are needed most."""
    rng = random.Random(seed)
    weights = [1 / (rank + 2) for rank in range(len(RULES))]
    made: list[Message] = []
    for split, count in ((TRAIN, train), (VALIDATION, validation), (Split.HELDOUT, 200)):
        for number in range(count):
            rules = tuple(sorted(set(rng.choices(RULES, weights, k=rng.choice((1, 1, 2))))))
            made.append(Message(f"{split}-{number}", "", split, rules=rules))
    return made


@dataclass
class Rules(World):
    """The target, the optimizer and the bill.

    :param needs: as `messages` makes them. No run sees the held-out ones: `rate` scores a text on them.
    :param budget: target calls of the search.
    :param flipped: the chance that a pair of text and case comes out the other way.
    """

    seed: int = 0
    budget: int = 300
    flipped: float = FLIPPED
    calls: int = 0
    characters: int = 0
    known: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.prompts = [FakePrompt(prose=START)]
        self.rng = random.Random(self.seed)
        self.heldout = [need for need in self.needs if need.split is Split.HELDOUT]
        self.needs = [need for need in self.needs if need.split is not Split.HELDOUT]
        self.by_id = {need.id: need for need in self.needs}
        self.aside = sum(need.split is VALIDATION for need in self.needs)
        self.replies = self.reply
        self.left = lambda: self.budget - self.calls - self.aside

    def progress(self, phase: Phase, names: tuple[str, ...]) -> None:
        """Calls for the validation cases are set aside until that phase."""
        if phase is Phase.VALIDATION:
            self.aside = 0

    def spend(self) -> Mapping[Role, Spend]:
        return {Role.TARGET: Spend(calls=self.calls)}

    # ------------------------------------------------------------------------------------------------- target

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        text = trial.overlay.get("route.md", START)
        return tuple(self._result(text, self.by_id[case]) for case in trial.cases)

    def _result(self, text: str, need: Need) -> CaseResult:
        if (text, need.id) not in self.known:
            if self.calls >= self.budget - self.aside * (need.split is TRAIN):
                raise StopRun(HaltReason.BUDGET, "no calls are left")
            self.calls += 1
            self.known.add((text, need.id))
        return CaseResult(need.record(), (self._outcome(need, self.passes(text, need)),))

    def _outcome(self, need: Need, passed: bool) -> Outcome:
        assert isinstance(need, Message)
        shown = Need(need.text, "" if passed else "unheard", need.split, expected=" ".join(need.rules))
        return shown.run({"route.md": ""})

    def passes(self, text: str, need: Need) -> bool:
        """What comes out, chance and all."""
        return self.holds(text, need) != (chance(self.seed, text, need.id) < self.flipped)

    def holds(self, text: str, need: Need) -> bool:
        """What the text does for a case, apart from chance."""
        assert isinstance(need, Message)
        harmed = any(chance(self.seed, harm, need.id) < BROKEN for harm in stated(text, "Never"))
        return not harmed and set(need.rules) <= set(stated(text, "Mind"))

    def rate(self, text: str) -> float:
        """The pass rate on the held-out cases, apart from chance; it costs nothing."""
        return sum(self.holds(text, need) for need in self.heldout) / len(self.heldout)

    # ---------------------------------------------------------------------------------------------- optimizer

    def reply(self, request: Request) -> Answer:
        asked = "\n".join(message.content for message in request.messages)
        versions = re.findall(r"<version>\n(.*?)\n</version>", asked, re.DOTALL)
        guarded = re.findall(r'input: "(\S+) about', section("passing", asked))
        safe = {rule for case in guarded for rule in self._rules(case)}
        told = self._merged(versions, safe) if versions else self._improved(asked, guarded, safe)
        self.characters += len(asked) + len(told)
        return answer(told)

    def _merged(self, versions: Sequence[str], safe: Collection[str]) -> str:
        rules = [rule for version in versions for rule in stated(version, "Mind")]
        harms = [harm for version in versions for harm in stated(version, "Never")]
        return self._written(self._kept(rules, safe), self._kept(harms), reason="does what all do")

    def _improved(self, asked: str, guarded: Sequence[str], safe: Collection[str]) -> str:
        prompt, direction = section("current_prompt", asked), section("direction", asked)
        rules, harms = stated(prompt, "Mind"), [*self._kept(stated(prompt, "Never"))]
        cases = re.findall(r'input: "(\S+) about', section("failures", asked))
        missing = [rule for case in cases for rule in self._rules(case) if rule not in rules]
        self.rng.shuffle(missing)
        found = [rule for rule in missing if self.rng.random() < self._insight(direction, rule)]
        found = list(dict.fromkeys(found))[:NEW_RULES]
        harm = self.rng.choice(HARMS)
        tries = re.split(r"^#", section("tried", asked), flags=re.MULTILINE)
        broke = [each for each in tries if BROKE.search(each)]
        lost = re.findall(r"^✗.*", section("lessons", asked), re.MULTILINE)
        warned = any(f"Never {harm}" in each for each in (*broke, *lost)) or any(
            chance(self.seed, harm, case) < BROKEN for case in guarded
        )
        # What fixed cases and broke none is worth taking over, whatever became of the text.
        good = (each for each in tries if PAID.search(each) and each not in broke)
        paid = [rule for each in good for rule in stated(each, "Mind")]
        found = list(dict.fromkeys([*found, *(rule for rule in paid if rule not in rules)]))
        if self.rng.random() < HARMFUL and not warned:
            harms.append(harm)
        else:
            harm = ""
        said = [*(f"Mind {rule}" for rule in found), *([f"Never {harm}"] if harm else [])]
        return self._written([*self._kept(rules, safe), *found], harms, reason=", ".join(said) or "clearer")

    def _kept(self, stated: Sequence[str], safe: Collection[str] = ()) -> Iterator[str]:
        return (word for word in stated if word in safe or self.rng.random() >= LOST)

    def _written(self, rules: Iterable[str], harms: Iterable[str], *, reason: str) -> str:
        """A reply; every rule and every harm is a line of its own."""
        sentences = [*(f"Mind {rule}." for rule in rules), *(f"Never {harm}." for harm in harms)]
        lines = ["Route {{ ticket }}.", *dict.fromkeys(sentences), f"This is version {self.rng.random()}."]
        return new_prompt("\n".join(lines), reason=reason)

    def _insight(self, direction: str, rule: str) -> float:
        return SUITED if chance(self.seed, direction, rule) < 0.5 else UNSUITED

    def _rules(self, case: str) -> tuple[str, ...]:
        need = self.by_id[case]
        assert isinstance(need, Message)
        return need.rules


def stated(text: str, verb: str) -> list[str]:
    return re.findall(rf"\b{verb} (\w+)\.", text)


def section(name: str, asked: str) -> str:
    found = re.search(rf"<{name}\b[^>]*>\n(.*?)\n</{name}>", asked, re.DOTALL)
    return found[1] if found else ""


def chance(*parts: object) -> float:
    """A fixed number from 0 to 1 for these parts."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big") / (1 << 64)
