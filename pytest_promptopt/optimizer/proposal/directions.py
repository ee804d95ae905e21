"""Lines of attack: which suit the failures, and which of them were not taken yet."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from pytest_promptopt.failures import Feedback
from pytest_promptopt.failures.categories import CONFUSION, FORMAT, REFUSAL, TERSE, TRUNCATED, VERBOSE

RULES = "State outright the rules that the failures show to be missing, each as one clear sentence."
BOUNDARIES = "Draw the boundaries: for answers that are confused with each other, say what tells them apart."
FORM = (
    "Say exactly what a correct answer looks like: its form and spelling, and what must not stand around it."
)
ROOT = "Find the one or two causes behind most failures and fix these at the root; leave the rest as it is."
PROCEDURE = "Turn the instructions into a short ordered procedure that settles unclear cases step by step."
TERMS = "Define every term and label the answer can contain, in words that also fit inputs not seen here."
EDGES = "Say what to do at the edges: empty, ambiguous or contradictory inputs, and which rule goes first."
EXAMPLES = "Add one or two short invented examples (not from the cases) that show the rule which fails most."
SCRATCH = (
    "Rewrite the prompt from scratch in another form, shorter than it is now: other words, another order of "
    "input, question and place for the answer."
)
CUT = (
    "Cut what misleads: remove or reword instructions that could cause these failures; no possible answer "
    "may get lost."
)
WORDING = (
    "Change as little as you can: a word, the order of two lines, or the last line before the answer. Leave "
    "all else letter by letter as it is."
)
BALANCE = (
    "Balance the answers: one of them nearly always comes, so take out what favours it, and give each "
    "possible answer the same place, wording and weight."
)

#: All of them, the one that helps most often first. Different proposals find different rules.
DIRECTIONS = (
    RULES,
    BOUNDARIES,
    FORM,
    ROOT,
    PROCEDURE,
    TERMS,
    EDGES,
    EXAMPLES,
    SCRATCH,
    CUT,
    WORDING,
    BALANCE,
)

#: Of an escape from a plateau: further from the text that is stuck.
ESCAPES = (SCRATCH, WORDING, PROCEDURE, EXAMPLES, ROOT, CUT)

#: Failures of the form, whatever the answer says.
_FORM = frozenset({TRUNCATED, REFUSAL, FORMAT, VERBOSE, TERSE})

#: So few failing cases are the rest of a prompt that is right, if so large a share passes.
FEW_LEFT = 6
NEARLY_ALL = 0.8

#: With a smaller share that passes nothing of the prompt is worth keeping.
HARDLY_ANY = 0.1


def suitable_directions(feedback: Feedback, *, collapsed: bool = False) -> tuple[str, ...]:
    """The lines of attack that the failures call for, the first one first.

    :param collapsed: one answer comes whatever was expected.
    """
    kinds = Counter({category.name: category.count for category in feedback.categories})
    form = sum(count for kind, count in kinds.items() if kind in _FORM)
    passing = 1 - feedback.failing / max(1, feedback.total)
    if 2 * form > feedback.failing:
        return (FORM, SCRATCH, EXAMPLES, CUT, WORDING, ROOT)
    if collapsed:
        return (BALANCE, SCRATCH, EXAMPLES, BOUNDARIES, TERMS)
    if passing < HARDLY_ANY:
        return (SCRATCH, RULES, EXAMPLES, FORM, PROCEDURE)
    if feedback.failing <= FEW_LEFT and passing >= NEARLY_ALL:
        return (EDGES, RULES, CUT, WORDING, BOUNDARIES, ROOT)
    if 2 * kinds[CONFUSION] > feedback.failing:
        return (BOUNDARIES, RULES, TERMS, PROCEDURE, EXAMPLES, ROOT, EDGES)
    return (RULES, ROOT, EDGES, PROCEDURE, TERMS, EXAMPLES, BOUNDARIES)


class Directions:
    """Which lines of attack were taken, by the text that they were to improve, and which led nowhere."""

    def __init__(self) -> None:
        self._taken: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._failed: Counter[str] = Counter()

    def take(self, prose: str, suited: Sequence[str], count: int) -> tuple[str, ...]:
        """`count` different lines for `prose`: none again while others are left, and the `suited` ones first.

        Of these the one that failed least often, whatever the text was.
        """
        taken = self._taken[prose]
        first = {line: place for place, line in enumerate(suited)}
        order = sorted(
            dict.fromkeys((*suited, *DIRECTIONS)),
            key=lambda line: (taken[line], line not in first, self._failed[line], first.get(line, 0)),
        )
        chosen = tuple(order[:count])
        taken.update(chosen)
        return chosen

    def learn(self, direction: str, *, accepted: bool) -> None:
        """A candidate that was told `direction` has its verdict."""
        self._failed[direction] += not accepted
