"""Spec, plan, code: three prompts write a Python expression for a request, and the check runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from code_sandbox import problem_of

REQUESTS = Path(__file__).with_name("requests.jsonl")
SPLITS = {"train": (), "validation": pytest.mark.validation, "heldout": pytest.mark.heldout}


def requests():
    cases = [json.loads(line) for line in REQUESTS.read_text(encoding="utf-8").splitlines()]
    return [
        pytest.param(case, marks=SPLITS[case["split"]], id=f"line{line}")
        for line, case in enumerate(cases, 1)
    ]


@pytest.mark.prompt(spec="../prompts/spec.md", plan="../prompts/plan.md", code="../prompts/code.md")
@pytest.mark.parametrize("case", requests())
def test_code(prompts, case):
    spec = prompts["spec"](request=case["request"])
    prompts["spec"].grade(spec == case["spec"], f"expected {case['spec']}")
    plan = prompts["plan"](spec=spec, request=case["request"])
    prompts["plan"].grade(plan == case["plan"], f"expected {case['plan']}")
    code = prompts["code"](spec=spec, plan=plan, request=case["request"])
    problem = problem_of(code, case["values"], case["result"])
    assert not problem, problem
