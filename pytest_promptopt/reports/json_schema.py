"""The JSON Schema of the JSON report; ``docs/generate_reference.py`` writes the file.

Every key that a report has is required. Others may be added under the same number, so none is forbidden.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

from pytest_promptopt.baselines.compare_rule import CompareVerdict
from pytest_promptopt.gate_rule import GateVerdict
from pytest_promptopt.mutation.findings import Notice
from pytest_promptopt.records import Role, Split, Status
from pytest_promptopt.reports.json_report import REPORT_SCHEMA
from pytest_promptopt.reports.passage_evidence import PassageVerdict
from pytest_promptopt.results import CandidateVerdict, ConfirmationVerdict, PromptOutcome
from pytest_promptopt.settings import Breaking, FailOn
from pytest_promptopt.thresholds import GateName

FILE = Path(__file__).with_name("report.schema.json")

Schema = dict[str, Any]

ANYTHING: Schema = {}
TEXT: Schema = {"type": "string"}
YES_OR_NO: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
POSITIVE: Schema = {"type": "number", "minimum": 0}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
CHANGE: Schema = {"type": "number", "minimum": -1, "maximum": 1}


def _or_null(schema: Schema) -> Schema:
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _tuple(*items: Schema) -> Schema:
    return {"type": "array", "prefixItems": list(items), "minItems": len(items), "maxItems": len(items)}


def _by_name(values: Schema, *names: str) -> Schema:
    of_names = {"propertyNames": {"enum": list(names)}} if names else {}
    return {"type": "object", "additionalProperties": values, **of_names}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _one_of(values: type[StrEnum]) -> Schema:
    return {"enum": [value.value for value in values]}


def report_schema() -> Schema:
    """The schema as a value of JSON."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "JSON report of pytest-promptopt",
        "description": "What the keys mean is said in the reference of pytest-promptopt, The JSON report.",
        **_object(
            schema={"const": REPORT_SCHEMA},
            version=TEXT,
            settings={"type": "object"},
            passed=YES_OR_NO,
            prompts=_list(_ref("prompt")),
            models=_list(_ref("comparison")),
            compared=_list(_ref("compared")),
            calls=_object(
                cached=COUNT,
                made=COUNT,
                requests=COUNT,
                input_tokens=COUNT,
                output_tokens=COUNT,
                unpriced=COUNT,
                cost=_or_null(POSITIVE),
            ),
            run=_or_null(_ref("run")),
            mutation=_or_null(_ref("mutation")),
            notes=_list(TEXT),
        ),
        "$defs": {
            **_of_checks(),
            **_of_cases(),
            **_of_answers(),
            **_of_comparisons(),
            **_of_baselines(),
            **_of_runs(),
            **_of_prompts(),
            **_of_searches(),
            **_of_mutation(),
        },
    }


def _of_checks() -> dict[str, Schema]:
    """What pytest's own loop measured."""
    figures = {"rate": _or_null(SHARE), "cases": COUNT, "failing": COUNT, "errored": COUNT}
    return {
        "prompt": _object(
            prompt=TEXT,
            **figures,
            min_pass_rate=_or_null(SHARE),
            held=_or_null(YES_OR_NO),
            where=_or_null(TEXT),
            gates=_list(_ref("gate")),
            limits=_list(_ref("limit")),
            categories=_list(_ref("category")),
            models=_list(
                _object(
                    model=_or_null(TEXT),
                    **figures,
                    held=_or_null(YES_OR_NO),
                    calls=COUNT,
                    cost=_or_null(POSITIVE),
                    unpriced=COUNT,
                    latency_p50=_or_null(POSITIVE),
                    noise=_or_null(_object(cases=COUNT, flipping=COUNT, smallest=_or_null(SHARE))),
                )
            ),
            results=_list(_ref("result")),
        ),
    }


def _of_cases() -> dict[str, Schema]:
    """Why cases fail, and each case."""
    at_fault = _or_null(_object(stage=TEXT, share=SHARE, by=TEXT, why=TEXT))
    return {
        "gate": _object(
            model=_or_null(TEXT),
            verdict=_or_null(_one_of(GateVerdict)),
            interval=_or_null(_tuple(SHARE, SHARE)),
            **dict.fromkeys(("samples", "cases"), _or_null(COUNT)),
        ),
        "limit": _object(
            name={"enum": [name.value for name in GateName if name is not GateName.PASS_RATE]},
            model=_or_null(TEXT),
            most=POSITIVE,
            measured=_or_null(POSITIVE),
            held=YES_OR_NO,
            where=_or_null(TEXT),
            calls=COUNT,
            unpriced=COUNT,
        ),
        "category": _object(
            name=TEXT,
            count=COUNT,
            observed=TEXT,
            examples=_list(TEXT),
            cause=TEXT,
            fix=TEXT,
            cases=_list(TEXT),
            confusion=_list(_tuple(TEXT, TEXT, COUNT)),
        ),
        "result": _object(
            id=TEXT,
            case=TEXT,
            model=_or_null(TEXT),
            split=_one_of(Split),
            status=_one_of(Status),
            rate=_or_null(SHARE),
            samples=COUNT,
            counted=COUNT,
            weight=POSITIVE,
            flaky=YES_OR_NO,
            category=_or_null(TEXT),
            **dict.fromkeys(("expected", "actual"), ANYTHING),
            **dict.fromkeys(("message", "error"), _or_null(TEXT)),
            stage_at_fault=at_fault,
            verdicts=_list(_ref("verdict")),
            stages=_list(_ref("stage")),
        ),
    }


def _of_answers() -> dict[str, Schema]:
    """What a judge said of an answer, and the way of a failing case through a pipeline."""
    return {
        "verdict": _object(
            score=SHARE,
            issues=_list(TEXT),
            strengths=_list(TEXT),
            suggestions=_list(_object(text=TEXT, category=TEXT, impact=TEXT)),
            threshold=NUMBER,
            **dict.fromkeys(("reasons", "criterion", "model", "better"), TEXT),
        ),
        "stage": _object(
            prompt=TEXT, calls=COUNT, inputs=_by_name(TEXT), output=TEXT, grade=_or_null(SHARE), why=TEXT
        ),
    }


def _of_comparisons() -> dict[str, Schema]:
    """Each pair of models on the same cases."""
    return {
        "comparison": _object(
            prompts=_list(TEXT),
            models=_list(_or_null(TEXT)),
            differences=_list(
                _object(
                    first=TEXT,
                    second=TEXT,
                    cases=COUNT,
                    gain=SHARE,
                    better=COUNT,
                    worse=COUNT,
                    p=SHARE,
                    adjusted=SHARE,
                    test=TEXT,
                )
            ),
            rates=_by_name(_by_name(SHARE)),
            differing=_list(TEXT),
        ),
    }


def _of_baselines() -> dict[str, Schema]:
    """Each prompt and model against what was measured before."""
    sides = _or_null(_object(before=POSITIVE, now=POSITIVE))
    return {
        "compared": _object(
            prompt=TEXT,
            model=_or_null(TEXT),
            **{"with": TEXT},
            cases=COUNT,
            same_text=_or_null(YES_OR_NO),
            before=_or_null(SHARE),
            now=_or_null(SHARE),
            change=_or_null(CHANGE),
            p=_or_null(SHARE),
            p_better=_or_null(SHARE),
            p_worse=_or_null(SHARE),
            test=_or_null(TEXT),
            categories=_list(_object(name=TEXT, before=COUNT, now=COUNT)),
            cost=sides,
            latency_p50=sides,
            verdict=_one_of(CompareVerdict),
            words=TEXT,
            fail_on=_or_null(_one_of(FailOn)),
            margin=POSITIVE,
            failed=YES_OR_NO,
            fixed=_list(TEXT),
            broken=_list(TEXT),
            flaky=_list(TEXT),
            answers=_by_name(_object(before=TEXT, now=TEXT)),
            new=_list(TEXT),
            removed=_list(TEXT),
            not_compared=_list(_object(why=TEXT, cases=_list(TEXT))),
            other_models=_list(_or_null(TEXT)),
        ),
    }


def _of_runs() -> dict[str, Schema]:
    """What ``--optimize`` did, up to its prompts."""
    return {
        "spend": _object(
            calls=COUNT, input_tokens=COUNT, output_tokens=COUNT, cost=_or_null(POSITIVE), unpriced=COUNT
        ),
        "run": _object(
            id=_or_null(TEXT),
            strategy=TEXT,
            interrupted=YES_OR_NO,
            elapsed=POSITIVE,
            journal=_or_null(TEXT),
            notes=_list(TEXT),
            errors=_list(TEXT),
            spend=_by_name(_ref("spend"), *(role.value for role in Role)),
            prompts=_list(_ref("optimized")),
            compared=_list(_ref("run")),
        ),
        "fault": _object(case=TEXT, stage=TEXT, share=SHARE, by=TEXT, why=TEXT, frozen=YES_OR_NO),
        "score": _object(
            split=_one_of(Split),
            cases=COUNT,
            before=_or_null(SHARE),
            after=_or_null(SHARE),
            errored=COUNT,
            fixed=COUNT,
            broken=COUNT,
            raised=COUNT,
            lowered=COUNT,
            unverified=COUNT,
            examples=COUNT,
            interval=_or_null(_tuple(SHARE, SHARE)),
            p_better=SHARE,
            p_worse=SHARE,
            test=TEXT,
        ),
    }


def _of_prompts() -> dict[str, Schema]:
    """What a run did for one prompt."""
    of_model = _object(model=_or_null(TEXT), scores=_list(_ref("score")))
    return {
        "optimized": _object(
            prompt=TEXT,
            outcome=_one_of(PromptOutcome),
            stop=TEXT,
            why=TEXT,
            accepted=YES_OR_NO,
            written=YES_OR_NO,
            unwritten=_or_null(TEXT),
            pipeline=_list(TEXT),
            note=_or_null(TEXT),
            before=TEXT,
            after=TEXT,
            fixed=_list(TEXT),
            broken=_list(TEXT),
            rates=_by_name(_tuple(SHARE, SHARE)),
            flaky=_list(_object(case=TEXT, passed=COUNT, samples=COUNT)),
            confirmation=_or_null(_ref("confirmation")),
            labels=_list(
                _object(
                    field=TEXT,
                    label=TEXT,
                    cases=COUNT,
                    before=COUNT,
                    after=COUNT,
                    instead=_list(_tuple(TEXT, COUNT)),
                )
            ),
            same_answers=_list(_object(field=TEXT, answer=TEXT, count=COUNT, cases=COUNT)),
            examples=_list(TEXT),
            verbosity=TEXT,
            **dict.fromkeys(("asked_before", "heldout_before"), COUNT),
            caught_up=_or_null(_object(cases=COUNT, rate=_or_null(SHARE), failing=COUNT, calls=COUNT)),
            scores=_list(_ref("score")),
            models=_list(of_model),
            worse_with=_or_null(TEXT),
            migration=_or_null(_object(old=of_model, new=of_model)),
            at_fault=_list(_ref("fault")),
            passages=_object(tried=_list(_ref("passages")), untried=COUNT),
            iterations=_list(_ref("iteration")),
        ),
        "passages": _object(
            passages=_list(TEXT),
            new=YES_OR_NO,
            verdict=_one_of(PassageVerdict),
            cases=COUNT,
            needed=COUNT,
            spoiled=COUNT,
            change=CHANGE,
            every=YES_OR_NO,
            p=SHARE,
            test=TEXT,
            failing=COUNT,
            mended=COUNT,
            interval=_tuple(SHARE, SHARE),
        ),
    }


def _of_searches() -> dict[str, Schema]:
    """The evidence for a new text, and what was tried before it."""
    return {
        "confirmation": _object(
            verdict=_one_of(ConfirmationVerdict),
            estimate=CHANGE,
            p=SHARE,
            pairs=COUNT,
            better=COUNT,
            worse=COUNT,
            calls=COUNT,
            detectable=_or_null(POSITIVE),
            why=TEXT,
            needed=COUNT,
            test=TEXT,
        ),
        "iteration": _object(
            number=COUNT,
            phase=TEXT,
            before=_or_null(SHARE),
            best=SHARE,
            unverified=COUNT,
            foresight=_or_null(
                _object(rate=SHARE, low=SHARE, high=SHARE, sd=POSITIVE, run=COUNT, cases=COUNT)
            ),
            elapsed=POSITIVE,
            critiques=COUNT,
            at_fault=TEXT,
            spend=_ref("spend"),
            candidates=_list(_ref("candidate")),
        ),
        "candidate": _object(
            id=TEXT,
            prompts=_list(TEXT),
            direction=TEXT,
            reason=TEXT,
            rate=_or_null(SHARE),
            verdict=_one_of(CandidateVerdict),
            why=TEXT,
            fixed=_list(TEXT),
            broken=_list(TEXT),
            split=_or_null(_one_of(Split)),
            run=COUNT,
        ),
    }


def _of_mutation() -> dict[str, Schema]:
    """What came of breaking instructions."""
    return {
        "mutation": _object(
            runs=COUNT,
            runs_per_case=_or_null(POSITIVE),
            stopped=_or_null(TEXT),
            prompts=_list(
                _object(
                    prompt=TEXT,
                    cases=COUNT,
                    usable=COUNT,
                    failing=COUNT,
                    unanswered=COUNT,
                    left=COUNT,
                    instructions=_list(_ref("instruction")),
                )
            ),
        ),
        "instruction": _object(
            text=TEXT,
            line=COUNT,
            verdict=_one_of(Notice),
            way=_or_null(_one_of(Breaking)),
            ways=_list(_one_of(Breaking)),
            run=COUNT,
            failed=COUNT,
            asked_again=COUNT,
            failed_again=COUNT,
            p=SHARE,
            failing=_list(TEXT),
            interval=_tuple(SHARE, SHARE),
            why=_or_null(TEXT),
        ),
    }
