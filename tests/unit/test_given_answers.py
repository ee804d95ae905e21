"""A trial may say in the place of the model what a stage answers; the stages after it run on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_promptopt.api import Status
from pytest_promptopt.budget.ledger import Ledger
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import CaseResult, Request
from pytest_promptopt.scripting.script_case import resolve_cases
from pytest_promptopt.scripting.script_engine import ScriptEngine
from pytest_promptopt.settings import Settings
from pytest_promptopt.testing import FakeModel


def case(prompts: Any) -> None:
    plan = prompts["plan"](task="add")
    assert prompts["code"](plan=str(plan)) == "right"


def test_it_answers_one_request_and_the_case_runs_on(tmp_path: Path) -> None:
    asked: list[str] = []

    def says(request: Request) -> str:
        asked.append(request.messages[-1].content)
        return {"Plan add": "bad plan", "Code good plan": "right"}.get(asked[-1], "wrong")

    files = {}
    for stage, text in {"plan": "Plan {{ task }}", "code": "Code {{ plan }}"}.items():
        (tmp_path / f"{stage}.md").write_text(text)
        files[stage] = PromptFile.load(tmp_path / f"{stage}.md", rootdir=tmp_path)
    resolved = resolve_cases([case], files, Settings(rootdir=tmp_path, model="fake/one"), tmp_path)
    client = ModelClient(
        resolve=lambda name: FakeModel(says),
        cache=None,
        ledger=Ledger(),
        concurrency=10,
        price=lambda request: None,
    )
    try:
        engine = ScriptEngine(resolved, client, concurrency=10)

        def run(answers: dict[str, str]) -> CaseResult:
            ((result,),) = engine.evaluate([Trial({}, tuple(resolved), answers=answers)], lambda: None)
            return result

        before = run({})
        after = run({before.outcomes[0].calls[0].key: "good plan"})
    finally:
        client.close()
    assert (before.status, after.status) == (Status.FAILED, Status.PASSED)
    assert [call.text for call in after.outcomes[0].calls] == ["good plan", "right"]
    assert asked == ["Plan add", "Code bad plan", "Code good plan"], "the stage itself is not asked again"
