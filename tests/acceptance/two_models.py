"""`TwoModels`: a project whose prompt needs another rule for each of its models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.acceptance.projects import Project

#: `house/old` answers right where the prompt says "Gently.", `house/new` where it says "Tersely.". To be told
#: "Tersely." alone confuses the old one on three of five questions, unless "Both." explains it; "Never."
#: confuses both. `house/writer` proposes the texts in `proposals.json`, one after the other.
CONFTEST = """
import itertools, json
from pathlib import Path
from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.testing import FakeModel

HERE = Path(__file__).parent
TURNS = itertools.count()

def said(request):
    text = request.messages[-1].content
    if request.model == "house/writer":
        proposals = json.loads((HERE / "proposals.json").read_text())
        prose = proposals[next(TURNS) % len(proposals)]
        return f"<reason>rules</reason><new_prompt>{prose}</new_prompt>"
    rules, _, number = text.partition("Question ")
    if request.model == "house/away":
        raise ModelError(ErrorKind.AUTHENTICATION, "house/away has no key", model=request.model)
    number = int(number)
    confused = "Never." in rules or "Tersely." in rules and "Both." not in rules and number % 5 < 3
    right = "Gently." in rules and not confused if request.model == "house/old" else "Tersely." in rules
    return "right" if right and "Never." not in rules else "wrong"

def pytest_promptopt_resolve_model(name):
    return FakeModel(said, log=HERE / "calls.log") if name.startswith("house/") else None
"""

TESTS = """
@pytest.mark.prompt("prompts/answer.md")
@pytest.mark.parametrize("number", range({cases}))
def test_number(prompt, number):
    assert prompt(number=number) == "right"
"""

OF_OLD = "Gently. Question {{ number }}"
OF_NEW = "Gently. Tersely. Question {{ number }}"
OF_BOTH = "Gently. Tersely. Both. Question {{ number }}"


class TwoModels(Project):
    """Its prompt suits `house/old`; 60 cases, about 24 of them held out."""

    def __init__(self, pytester: pytest.Pytester, *, text: str = OF_OLD, cases: int = 60) -> None:
        super().__init__(pytester)
        self.write("conftest.py", CONFTEST)
        self.ini("promptopt_optimizer_model = house/writer", "promptopt_split = 60/0/40")
        self.tests(TESTS.format(cases=cases))
        self.prompt = self.write("prompts/answer.md", f"{text}\n")

    def confuse_two_of_five(self) -> None:
        """The old model is confused on two of five questions."""
        conftest = self.path / "conftest.py"
        self.write("conftest.py", conftest.read_text().replace("number % 5 < 3", "number % 5 < 2"))

    def optimize(self, models: str, proposals: Sequence[str], *args: str, workers: int = 0) -> Any:
        """Run `--optimize` with an optimizer that has these ideas."""
        self.write("proposals.json", json.dumps(list(proposals)))
        few = ("--promptopt-candidates=2", "--promptopt-max-iterations=2", "--promptopt-examples=off")
        report = "--promptopt-report=report.json"
        return self.run(
            "--optimize", f"--promptopt-model={models}", *few, "--tb=no", report, *args, workers=workers
        )

    @property
    def text(self) -> str:
        return self.prompt.read_text().strip()

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / "report.json").read_text())
        return found

    @property
    def outcome(self) -> dict[str, Any]:
        """What the run says of the only prompt."""
        (found,) = self.report["run"]["prompts"]
        return dict(found)

    def rates(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Before and after, by model and split."""
        return {
            each["model"]: {s["split"]: (s["before"], s["after"]) for s in each["scores"]}
            for each in self.outcome["models"]
        }
