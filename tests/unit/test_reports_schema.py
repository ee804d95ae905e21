"""The JSON Schema of the JSON report says of every key what it may be, and reports are as it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from pytest_promptopt.reports.json_report import report_json
from pytest_promptopt.reports.json_schema import FILE, report_schema
from pytest_promptopt.results import (
    CatchUp,
    Confirmation,
    ConfirmationVerdict,
    LabelScore,
    Migration,
    ModelChange,
    SameAnswer,
)
from pytest_promptopt.thresholds import GateName, Threshold
from pytest_promptopt.verdicts import Suggestion, Verdict
from tests.reported_session import CHECKS, RUN, compared_report, comparison, session_report

SCHEMA = report_schema()


def full_report() -> dict[str, Any]:
    """A report in which every part is there."""
    (check,), (prompt,) = CHECKS, RUN.prompts
    more = (Suggestion("say more", "tone", "high"),)
    verdict = Verdict(0.4, ("vague",), ("short",), more, "because", "raw")
    models = ("house/a", "house/b")
    results = [
        replace(
            result,
            case=replace(result.case, id=f"{result.case.id}[{model}]", models=(model,), pair=result.case.id),
            outcomes=tuple(replace(outcome, verdicts=(verdict,)) for outcome in result.outcomes),
        )
        for result in check.results
        for model in models
    ]
    change = ModelChange("house/a", prompt.scores)
    optimized = replace(
        prompt,
        confirmation=Confirmation(ConfirmationVerdict.IMPROVED, 0.4, 0.01, 30, 12, 0, 60, 0.1),
        caught_up=CatchUp(17, 0.9, 1, 17),
        labels=(LabelScore("", "a", 3, 1, 2, (("b", 1),)),),
        same_answers=(SameAnswer("", "a", 43, 44),),
        models=(change,),
        migration=Migration(change, change),
    )
    run = replace(RUN, prompts=(optimized,), compared=(replace(RUN, prompts=(optimized,)),))
    asked = {name: Threshold(0.9, check.where) for name in GateName}
    checks = (type(check).of(check.prompt, tuple(results), asked),)
    compared = (comparison(), replace(comparison(), pairs=(), other_models=("", "house/old")))
    return report_json(compared_report(checks=checks, run=run, notes=("a note",), compared=compared))


def test_the_file_in_the_package_is_this_schema() -> None:
    assert json.loads(FILE.read_text(encoding="utf-8")) == SCHEMA
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("report", [full_report(), report_json(session_report(run=None, checks=()))])
def test_reports_are_valid(report: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(report)


def test_every_key_of_a_full_report_is_named() -> None:
    report = full_report()
    assert report["models"]
    assert [each["cases"] for each in report["compared"]] == [3, 0]
    assert all(model["noise"] for model in report["prompts"][0]["models"])
    assert report["prompts"][0]["results"][0]["verdicts"]
    assert sorted(unnamed(report, SCHEMA, "")) == []


def unnamed(value: Any, schema: Any, place: str) -> Iterator[str]:
    """The places of keys of which the schema says nothing."""
    while "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return (yield from unnamed(value, schema["anyOf"][0], place))
    if isinstance(value, dict) and "properties" in schema:
        for key, item in value.items():
            if key in schema["properties"]:
                yield from unnamed(item, schema["properties"][key], f"{place}.{key}")
            else:
                yield f"{place}.{key}"
    elif isinstance(value, dict) and "additionalProperties" in schema:
        for item in value.values():
            yield from unnamed(item, schema["additionalProperties"], f"{place}.*")
    elif isinstance(value, list) and "items" in schema:
        for item in value:
            yield from unnamed(item, schema["items"], f"{place}[]")


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (("passed",), "yes"),
        (("schema",), 2),
        (("prompts", 0, "rate"), 75),
        (("prompts", 0, "results", 0, "status"), "green"),
        (("run", "prompts", 0, "iterations", 0, "candidates", 0, "fixed"), None),
        (("run", "prompts", 0, "scores", 0, "interval"), [0.1]),
        (("run", "spend"), {"cook": {}}),
        (("compared",), None),
        (("compared", 0, "change"), -33.3),
        (("compared", 0, "verdict"), "worse"),
        (("compared", 0, "fail_on"), "never"),
        (("compared", 0, "not_compared", 0, "cases"), 1),
    ],
)
def test_what_no_report_says_is_not_valid(place: tuple[str | int, ...], wrong: object) -> None:
    report: Any = full_report()
    *parents, last = place
    inner = report
    for key in parents:
        inner = inner[key]
    inner[last] = wrong
    with pytest.raises(jsonschema.ValidationError) as caught:
        jsonschema.Draft202012Validator(SCHEMA).validate(report)
    told = tuple(caught.value.absolute_path)
    assert place[: len(told)] == told, "in what may be null it is told of the whole"
