"""Each kind of check, and its opposite, decides a case as pytest runs it, whatever file it stands in."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from pytest_promptopt.suites.check_types import CHECK_TYPES
from tests.acceptance.projects import Project
from tests.unit.test_suite_checks import EACH

#: The house says what it is asked, for a tenth of a cent in 20 ms. As a judge it likes "please".
MODEL = """
from pytest_promptopt.testing import FakeModel

def pytest_promptopt_resolve_model(name):
    return FakeModel(said, seconds=0.02, cost=0.001) if name.startswith("house/") else None

def said(request):
    text = request.messages[-1].content
    if "<criterion>" not in text:
        return text
    return "SCORE: 1" if "please" in text else "ISSUE: it commands\\nSCORE: 0.25"
"""

TEST = """
import pytest
from pytest_promptopt import cases

@pytest.mark.prompt("say.md")
@pytest.mark.parametrize("case", cases("{file}"))
def test_say(prompt, judge, case):
    case.check(prompt(say=case["say"]), judge)
"""

#: What an answer takes is not what it says: one that fits is checked for more than that, the other for less.
MEASURED = {"latency": (300, 0.001), "cost": (0.001, 0.0005)}

Row = dict[str, Any]


def rows() -> Iterator[tuple[Row, bool]]:
    """A case for each kind, sign and answer, and whether it passes."""
    for number, (kind, value, more, good, bad) in enumerate(EACH):
        options = dict(more.get("options", {}))
        if options.pop("exact", False):
            continue  # no file of ours says it
        for is_good in (True, False):
            wanted = MEASURED[kind][not is_good] if kind in MEASURED else value
            answer = "word" if kind in MEASURED else (good if is_good else bad).strip()
            for sign in ("", "not-"):
                check = {"type": sign + kind, "path": options.get("path"), "threshold": more.get("threshold")}
                check = {key: given for key, given in check.items() if given is not None}
                if wanted is not None or options.get("null"):
                    check["value"] = wanted
                id = f"{number}-{sign}{kind}-{'fits' if is_good else 'does-not'}"
                yield {"id": id, "say": answer, "ticket": "17", "checks": [check]}, is_good is not bool(sign)


ROWS = list(rows())


def as_csv(given: list[Row]) -> str:
    """A column for each kind with its path or threshold; a cell is a text, else JSON."""
    told: list[dict[str, str]] = []
    for row in given:
        [check] = row["checks"]
        about = check.get("path", check.get("threshold", ""))
        value = check.get("value", "yes")
        cell = value if isinstance(value, str) else json.dumps(value)
        told.append(
            {key: row[key] for key in ("id", "say", "ticket")}
            | {f"check:{check['type']} {about}".strip(): cell}
        )
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in told for key in row)))
    writer.writeheader()
    writer.writerows(told)
    return text.getvalue()


def fits_into_a_cell(row: Row) -> bool:
    """A column of paths needs a value that stands there, and cannot say null."""
    [check] = row["checks"]
    return "json-path" not in check["type"] or check.get("value") is not None


def in_form(ending: str, given: list[Row]) -> str:
    if ending == "csv":
        return as_csv(given)
    return "\n".join(map(json.dumps, given)) if ending == "jsonl" else json.dumps(given, indent=1)


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    project = Project(pytester)
    project.ini("promptopt_model = house/say", "promptopt_judge_model = house/judge")
    project.write("conftest.py", MODEL)
    project.write("say.md", "{{ say }}\n")
    return project


def verdicts(project: Project, *args: str) -> Mapping[str, bool]:
    """By id whether a case passed."""
    lines = project.run("-rA", "-q", "--tb=no", *args).outlines
    said = (line.partition(" ") for line in lines if line.startswith(("PASSED ", "FAILED ", "ERROR ")))
    return {line.partition("[")[2].partition("]")[0]: word == "PASSED" for word, _, line in said}


def test_every_kind_is_among_them() -> None:
    named = {row["checks"][0]["type"].removeprefix("not-") for row, _ in ROWS}
    assert named == set(CHECK_TYPES)


def test_in_a_suite(project: Project) -> None:
    suite = {"prompt": "say.md", "cases": [row for row, _ in ROWS]}
    project.write("say.promptopt.yaml", json.dumps(suite, indent=1))
    assert verdicts(project) == {row["id"]: passes for row, passes in ROWS}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "yaml", "json"])
def test_in_a_table_that_a_test_takes_its_cases_from(project: Project, ending: str) -> None:
    given = [each for each in ROWS if ending != "csv" or fits_into_a_cell(each[0])]
    project.write(f"table.{ending}", in_form(ending, [row for row, _ in given]))
    project.write("test_say.py", TEST.format(file=f"table.{ending}"))
    assert verdicts(project) == {row["id"]: passes for row, passes in given}
