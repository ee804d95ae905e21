"""Function calls of the Berkeley leaderboard as a suite: does an optimization raise the rate of right calls?

    python -m tests.benchmarks.tool_calls PATH [--cases 120] [--seed 0]

`PATH` is ``BFCL_v4_simple_python.json`` with its ``possible_answer`` folder beside it, from
github.com/ShishirPatil/gorilla (``berkeley-function-call-leaderboard/bfcl_eval/data``, Apache-2.0). Each case
is a question, one function, and the values that count as right for each of its arguments.

The model is a server of this benchmark's own, behind the real SDK. It knows the right calls, and makes three
kinds of mistakes in about half of the cases unless the prompt rules them out: numbers as texts, values for
arguments that nobody asked for, required arguments left out. The optimizer is the same server: it knows
nothing but the request for a candidate, and writes the rules for which it finds faults there. So the rate
goes up only if a wrong call is fed back as what it is. With ``--model`` and ``--optimizer`` both are real
ones instead.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_promptopt.records.content import ToolCall
from tests.wire import Body, WireServer

ROOT = Path(__file__).parents[2]
MODEL = "anthropic/claude-haiku-4-5"

#: The leaderboard's names of types, in JSON schema's.
TYPES = {"dict": "object", "float": "number", "tuple": "array"}

PROMPT = "Answer the question with a call of the function.\n\n{{ question }}\n"

TESTS = '''
import json
from pathlib import Path

import pytest

CASES = json.loads(Path(__file__).with_name("cases.json").read_text())


def plain(value):
    """As the leaderboard compares texts."""
    return "".join(c for c in value.lower() if c not in " ,./-_*^'") if isinstance(value, str) else value


def right(value, options):
    if isinstance(value, dict):
        return any(isinstance(each, dict) and nearest(each, value) == value for each in options)
    if isinstance(value, list):
        lists = [list(map(plain, each)) for each in options if isinstance(each, list)]
        return list(map(plain, value)) in lists
    return any(type(each) is not bool and plain(each) == plain(value) or each is value for each in options)


def nearest(allowed, given):
    """The right arguments that differ least from the given ones."""
    wanted = {}
    for name, options in allowed.items():
        if name in given and right(given[name], options):
            wanted[name] = given[name]
        elif name in given or "" not in options:
            first = next((each for each in options if each != ""), None)
            if first is not None and not (name in given and "" in options):
                wanted[name] = nearest(first, {}) if isinstance(first, dict) else first
    return wanted


@pytest.mark.prompt("prompts/call.md")
@pytest.mark.parametrize(
    ("question", "tool", "allowed"),
    [pytest.param(c["question"], c["tool"], c["allowed"], id=c["id"]) for c in CASES],
)
def test_call(prompt, question, tool, allowed):
    answer = prompt(question=question, tools=[tool], tool_choice="required")
    [call] = answer.tool_calls
    assert call.name == tool["name"]
    assert call.arguments == nearest(allowed, call.arguments)
'''


def read_cases(path: Path, count: int) -> list[dict[str, Any]]:
    """The first `count` cases that can be asked as they are."""
    answers = {each["id"]: each for each in _lines(path.parent / "possible_answer" / path.name)}
    cases = []
    for each in _lines(path):
        [function] = each["function"]
        [[turn]] = each["question"]
        [truth] = answers[each["id"]]["ground_truth"]
        [allowed] = truth.values()
        tool = {
            "name": function["name"].replace(".", "_"),
            "description": function["description"],
            "input_schema": _schema(function["parameters"]),
        }
        cases.append({"id": each["id"], "question": turn["content"], "tool": tool, "allowed": allowed})
    return cases[:count]


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def _schema(given: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    schema = dict(given)
    if schema.get("type") == "any":
        del schema["type"]
    elif "type" in schema:
        schema["type"] = TYPES.get(schema["type"], schema["type"])
    if "properties" in schema:
        schema["properties"] = {name: _schema(each) for name, each in schema["properties"].items()}
    if "items" in schema:
        schema["items"] = _schema(schema["items"])
    return schema


class Server:
    """Right calls, with mistakes that a prompt can rule out; and prompts that rule out what is told to it."""

    #: What a prompt has to say against each kind of mistake, and by what it is found in a request.
    RULES = (
        ("Give numbers as numbers, never as texts.", r"numbers as numbers", r'expected -?\d[\d.]* but got "'),
        (
            "Leave out every argument that the question does not speak of.",
            r"leave out every argument",
            r"the argument \w+ of \w+ was not wanted",
        ),
        (
            "Give all required arguments.",
            r"all required arguments",
            r"the argument \w+ of \w+ is missing",
        ),
    )

    def __init__(self, cases: Sequence[Mapping[str, Any]]) -> None:
        self._cases = cases

    def __call__(self, body: Body) -> str | list[ToolCall]:
        text = json.dumps(body.get("system", "")) + json.dumps(body["messages"], ensure_ascii=False)
        if not body.get("tools"):
            return self._written(str(body["messages"][-1]["content"]))
        asked = str(body["messages"][-1]["content"])
        names = {tool["name"] for tool in body["tools"]}
        case = next(c for c in self._cases if c["question"] in asked and c["tool"]["name"] in names)
        return [ToolCall(case["tool"]["name"], self._arguments(case, text.casefold()))]

    def _arguments(self, case: Mapping[str, Any], prompt: str) -> dict[str, Any]:
        schema, luck = case["tool"]["input_schema"], zlib.crc32(case["id"].encode())
        arguments = {
            name: _first(next(each for each in options if each != ""))
            for name, options in case["allowed"].items()
            if any(each != "" for each in options) and "" not in options
        }
        numbers = [name for name, value in arguments.items() if type(value) in (int, float)]
        if luck % 2 and numbers and not re.search(self.RULES[0][1], prompt):
            arguments[numbers[0]] = str(arguments[numbers[0]])
        free = [name for name in schema["properties"] if name not in arguments]
        if luck % 3 == 0 and free and not re.search(self.RULES[1][1], prompt):
            arguments[free[0]] = "unknown"
        if luck % 5 == 0 and len(arguments) > 1 and not re.search(self.RULES[2][1], prompt):
            del arguments[list(arguments)[-1]]
        return arguments

    def _written(self, request: str) -> str:
        """A candidate: the current prompt, and the first rule that it lacks and that the failures ask for."""
        found = re.search(r"<current_prompt>\n(.*?)\n</current_prompt>", request, re.DOTALL)
        prose = found[1] if found else PROMPT.strip()
        told = [line for line in request.splitlines() if line.startswith("tool call: ")]
        lacking = [rule for rule, stated, _ in self.RULES if not re.search(stated, prose.casefold())]
        asked_for = [
            rule
            for rule, _, fault in self.RULES
            if rule in lacking and any(re.search(fault, line) for line in told)
        ]
        text = "\n".join([*asked_for[:1], prose])
        return f"<reason>{len(told)} faults of calls are told</reason><new_prompt>{text}</new_prompt>"


def _first(value: Any) -> Any:
    """A right value: of an object, whose arguments have several each, the first of each."""
    if isinstance(value, Mapping):
        return {name: _first(options[0]) for name, options in value.items() if options[0] != ""}
    return value


def run(cases: Sequence[Mapping[str, Any]], seed: int, model: str, optimizer: str, folder: Path) -> Any:
    """The report of an optimization in a project of its own, in `folder`; tells how it fails before."""
    (folder / "prompts").mkdir()
    (folder / "prompts/call.md").write_text(PROMPT, encoding="utf-8")
    (folder / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    (folder / "test_calls.py").write_text(TESTS, encoding="utf-8")
    settings = ["[pytest]", "promptopt_split = 40/20/40", f"promptopt_model = {model}"]
    (folder / "pytest.ini").write_text("\n".join(settings) + "\n", encoding="utf-8")
    before = _pytest(folder, "--promptopt-report=before.json")["prompts"][0]
    for category in before["categories"]:
        print(f"{category['name']}: {category['count']} cases; {category['observed']}")
    options = [f"--promptopt-optimizer-model={optimizer}", f"--promptopt-seed={seed}"]
    return _pytest(folder, "--optimize", *options, "--promptopt-report=after.json")


def _pytest(folder: Path, *arguments: str) -> Any:
    """The report of a session."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True)
    report = folder / arguments[-1].partition("=")[2]
    if not report.exists():
        raise SystemExit((done.stdout + done.stderr).decode("utf-8", "replace"))
    return json.loads(report.read_text(encoding="utf-8"))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--cases", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="", help="a real one, in the place of the server")
    parser.add_argument("--optimizer", default="", help="the same for the model that writes")
    given = parser.parse_args()
    cases = read_cases(given.path, given.cases)
    started = time.monotonic()
    with WireServer(answer=Server(cases)) as server, tempfile.TemporaryDirectory() as folder:
        if not given.model:
            os.environ |= {"ANTHROPIC_API_KEY": "none", "ANTHROPIC_BASE_URL": server.url}
        model = given.model or MODEL
        report = run(cases, given.seed, model, given.optimizer or model, Path(folder))
        text = (Path(folder) / "prompts/call.md").read_text(encoding="utf-8")
        paid = len(server.requests)
    [result] = report["run"]["prompts"]
    print(f"{len(cases)} cases, {paid} requests to the server, {time.monotonic() - started:.0f} s")
    for score in result["scores"]:
        print(f"{score['split']}: {score['before']:.1%} -> {score['after']:.1%} of {score['cases']} cases")
    print(text)
    return int(not all(score["after"] > score["before"] for score in result["scores"]))


if __name__ == "__main__":
    raise SystemExit(main())
