"""A project of real files whose tests toss a coin: no prompt has any effect on them."""

from __future__ import annotations

from pathlib import Path

PROMPT = "Answer the ticket.\n\n{{ ticket }}\n"

#: In place of `demo`: words at random, whoever asks; what it says as a target plays no part.
CONFTEST = """
import random
from pytest_promptopt.records import Answer
from tests.noise_world import WORDS
from tests.refine_world import answer

class House:
    async def complete(self, request):
        # The same to the same, in whatever order requests come.
        chooser = random.Random(repr(({seed}, request.messages, request.sample)))
        if "<criterion>" in request.messages[-1].content:
            return answer(f"REASONS: a toss\\nSCORE: {{chooser.random()}}")
        return answer(" ".join(chooser.choices(WORDS, k=20)))

    async def aclose(self):
        pass

def pytest_promptopt_resolve_model(name):
    return House()
"""

#: The n-th run of a case under a text has its own toss, whatever ran in between.
TESTS = """
import random
from collections import Counter
import pytest

RUNS = Counter()
HELDOUT = [pytest.param(number, marks=pytest.mark.heldout) for number in range({cases}, {cases} + {heldout})]

@pytest.mark.prompt("prompts/coin.md")
@pytest.mark.parametrize("number", [*range({cases}), *HELDOUT])
def test_toss(prompt, number):
    prompt(ticket=str(number))
    RUNS[prompt.text, number] += 1
    toss = random.Random(repr(({seed}, prompt.text, number, RUNS[prompt.text, number])))
    assert toss.random() < {chance}
"""


#: Each answer, and so each verdict, is another one: the model says words at random.
JUDGED = """
import pytest

HELDOUT = [pytest.param(number, marks=pytest.mark.heldout) for number in range({cases}, {cases} + {heldout})]

@pytest.mark.prompt("prompts/coin.md")
@pytest.mark.parametrize("number", [*range({cases}), *HELDOUT])
def test_judged(prompt, judge, number):
    assert judge(prompt(ticket=str(number)), "is good").score >= 0.7
"""


def make_coin_project(path: Path, *, cases: int, heldout: int, chance: float | None, seed: int) -> Path:
    """Write the project into the folder `path`; its prompt file, which says `PROMPT`, is returned.

    :param chance: that a case passes; None has a judge grade each answer, at random.
    """
    models = ("model", "optimizer_model", "judge_model")
    path.joinpath("pytest.ini").write_text(
        "[pytest]\n" + "".join(f"promptopt_{name} = demo\n" for name in models)
    )
    path.joinpath("conftest.py").write_text(CONFTEST.format(seed=seed))
    tests = JUDGED if chance is None else TESTS
    path.joinpath("test_coin.py").write_text(
        tests.format(cases=cases, heldout=heldout, chance=chance, seed=seed)
    )
    prompt = path / "prompts" / "coin.md"
    prompt.parent.mkdir(exist_ok=True)
    prompt.write_text(PROMPT)
    return prompt
