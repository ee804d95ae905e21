"""The JSON Schema of the JSON report; ``docs/generate_reference.py`` writes the file.

Every key that a report has is required. Others may be added under the same number, so none is forbidden.
"""

from __future__ import annotations

from pathlib import Path

from pytest_promptopt.baselines.compare_rule import CompareVerdict
from pytest_promptopt.gate_rule import GateVerdict
from pytest_promptopt.mutation.findings import Notice
from pytest_promptopt.records import Role, Split, Status
from pytest_promptopt.reports.json_report import REPORT_SCHEMA
from pytest_promptopt.reports.passage_evidence import PassageVerdict
from pytest_promptopt.reports.schema_words import (
    ANYTHING,
    CHANGE,
    COUNT,
    NUMBER,
    POSITIVE,
    SHARE,
    TEXT,
    YES_OR_NO,
    Schema,
    by_name,
    list_of,
    object_of,
    one_of,
    or_null,
    ref,
    tuple_of,
)
from pytest_promptopt.results import CandidateVerdict, ConfirmationVerdict, PromptOutcome
from pytest_promptopt.settings import Breaking, FailOn
from pytest_promptopt.thresholds import GateName

FILE = Path(__file__).with_name("report.schema.json")


def report_schema() -> Schema:
    """The schema as a value of JSON."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "JSON report of pytest-promptopt",
        "description": "What the keys mean is said in the reference of pytest-promptopt, The JSON report.",
        **object_of(
            schema={"const": REPORT_SCHEMA},
            version=TEXT,
            settings={"type": "object"},
            passed=YES_OR_NO,
            prompts=list_of(ref("prompt")),
            models=list_of(ref("comparison")),
            compared=list_of(ref("compared")),
            calls=object_of(
                cached=COUNT,
                made=COUNT,
                requests=COUNT,
                input_tokens=COUNT,
                output_tokens=COUNT,
                unpriced=COUNT,
                cost=or_null(POSITIVE),
            ),
            run=or_null(ref("run")),
            mutation=or_null(ref("mutation")),
            notes=list_of(TEXT),
        ),
        "$defs": {
            **_of_checks(),
            **_of_cases(),
            **_of_answers(),
            **_of_comparisons(),
            **_of_baselines(),
            **_of_runs(),
            **_of_prompts(),
            **_of_passages(),
            **_of_searches(),
            **_of_mutation(),
        },
    }


def _of_checks() -> dict[str, Schema]:
    """What pytest's own loop measured."""
    figures = {"rate": or_null(SHARE), "cases": COUNT, "failing": COUNT, "errored": COUNT}
    return {
        "prompt": object_of(
            prompt=TEXT,
            **figures,
            min_pass_rate=or_null(SHARE),
            held=or_null(YES_OR_NO),
            where=or_null(TEXT),
            gates=list_of(ref("gate")),
            limits=list_of(ref("limit")),
            categories=list_of(ref("category")),
            models=list_of(
                object_of(
                    model=or_null(TEXT),
                    **figures,
                    held=or_null(YES_OR_NO),
                    calls=COUNT,
                    cost=or_null(POSITIVE),
                    unpriced=COUNT,
                    latency_p50=or_null(POSITIVE),
                    noise=or_null(object_of(cases=COUNT, flipping=COUNT, smallest=or_null(SHARE))),
                )
            ),
            results=list_of(ref("result")),
        ),
    }


def _of_cases() -> dict[str, Schema]:
    """Why cases fail, and each case."""
    return {
        "gate": object_of(
            model=or_null(TEXT),
            verdict=or_null(one_of(GateVerdict)),
            interval=or_null(tuple_of(SHARE, SHARE)),
            samples=or_null(COUNT),
            cases=or_null(COUNT),
        ),
        "limit": object_of(
            name={"enum": [name.value for name in GateName if name is not GateName.PASS_RATE]},
            model=or_null(TEXT),
            most=POSITIVE,
            measured=or_null(POSITIVE),
            held=YES_OR_NO,
            where=or_null(TEXT),
            calls=COUNT,
            unpriced=COUNT,
        ),
        "category": object_of(
            name=TEXT,
            count=COUNT,
            observed=TEXT,
            examples=list_of(TEXT),
            cause=TEXT,
            fix=TEXT,
            cases=list_of(TEXT),
            confusion=list_of(tuple_of(TEXT, TEXT, COUNT)),
        ),
        "result": object_of(
            id=TEXT,
            case=TEXT,
            model=or_null(TEXT),
            split=one_of(Split),
            status=one_of(Status),
            rate=or_null(SHARE),
            samples=COUNT,
            counted=COUNT,
            weight=POSITIVE,
            flaky=YES_OR_NO,
            category=or_null(TEXT),
            expected=ANYTHING,
            actual=ANYTHING,
            message=or_null(TEXT),
            error=or_null(TEXT),
            stage_at_fault=or_null(object_of(stage=TEXT, share=SHARE, by=TEXT, why=TEXT)),
            verdicts=list_of(ref("verdict")),
            stages=list_of(ref("stage")),
        ),
    }


def _of_answers() -> dict[str, Schema]:
    """What a judge said of an answer, and the way of a failing case through a pipeline."""
    return {
        "verdict": object_of(
            score=SHARE,
            issues=list_of(TEXT),
            strengths=list_of(TEXT),
            suggestions=list_of(object_of(text=TEXT, category=TEXT, impact=TEXT)),
            reasons=TEXT,
            threshold=NUMBER,
            criterion=TEXT,
            model=TEXT,
            better=TEXT,
        ),
        "stage": object_of(
            prompt=TEXT, calls=COUNT, inputs=by_name(TEXT), output=TEXT, grade=or_null(SHARE), why=TEXT
        ),
    }


def _of_comparisons() -> dict[str, Schema]:
    """Each pair of models on the same cases."""
    return {
        "comparison": object_of(
            prompts=list_of(TEXT),
            models=list_of(or_null(TEXT)),
            differences=list_of(
                object_of(
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
            rates=by_name(by_name(SHARE)),
            differing=list_of(TEXT),
        ),
    }


def _of_baselines() -> dict[str, Schema]:
    """Each prompt and model against what was measured before."""
    sides = or_null(object_of(before=POSITIVE, now=POSITIVE))
    return {
        "compared": object_of(
            prompt=TEXT,
            model=or_null(TEXT),
            **{"with": TEXT},
            cases=COUNT,
            same_text=or_null(YES_OR_NO),
            before=or_null(SHARE),
            now=or_null(SHARE),
            change=or_null(CHANGE),
            p=or_null(SHARE),
            p_better=or_null(SHARE),
            p_worse=or_null(SHARE),
            test=or_null(TEXT),
            categories=list_of(object_of(name=TEXT, before=COUNT, now=COUNT)),
            cost=sides,
            latency_p50=sides,
            verdict=one_of(CompareVerdict),
            words=TEXT,
            fail_on=or_null(one_of(FailOn)),
            margin=POSITIVE,
            failed=YES_OR_NO,
            fixed=list_of(TEXT),
            broken=list_of(TEXT),
            flaky=list_of(TEXT),
            answers=by_name(object_of(before=TEXT, now=TEXT)),
            new=list_of(TEXT),
            removed=list_of(TEXT),
            not_compared=list_of(object_of(why=TEXT, cases=list_of(TEXT))),
            other_models=list_of(or_null(TEXT)),
        ),
    }


def _of_runs() -> dict[str, Schema]:
    """What ``--optimize`` did, up to its prompts."""
    return {
        "spend": object_of(
            calls=COUNT, input_tokens=COUNT, output_tokens=COUNT, cost=or_null(POSITIVE), unpriced=COUNT
        ),
        "run": object_of(
            id=or_null(TEXT),
            strategy=TEXT,
            interrupted=YES_OR_NO,
            elapsed=POSITIVE,
            journal=or_null(TEXT),
            notes=list_of(TEXT),
            errors=list_of(TEXT),
            spend=by_name(ref("spend"), *(role.value for role in Role)),
            prompts=list_of(ref("optimized")),
            compared=list_of(ref("run")),
        ),
        "fault": object_of(case=TEXT, stage=TEXT, share=SHARE, by=TEXT, why=TEXT, frozen=YES_OR_NO),
        "score": object_of(
            split=one_of(Split),
            cases=COUNT,
            before=or_null(SHARE),
            after=or_null(SHARE),
            errored=COUNT,
            fixed=COUNT,
            broken=COUNT,
            raised=COUNT,
            lowered=COUNT,
            unverified=COUNT,
            examples=COUNT,
            interval=or_null(tuple_of(SHARE, SHARE)),
            p_better=SHARE,
            p_worse=SHARE,
            test=TEXT,
        ),
    }


def _of_prompts() -> dict[str, Schema]:
    """What a run did for one prompt."""
    of_model = object_of(model=or_null(TEXT), scores=list_of(ref("score")))
    return {
        "optimized": object_of(
            prompt=TEXT,
            outcome=one_of(PromptOutcome),
            stop=TEXT,
            why=TEXT,
            accepted=YES_OR_NO,
            written=YES_OR_NO,
            unwritten=or_null(TEXT),
            pipeline=list_of(TEXT),
            note=or_null(TEXT),
            before=TEXT,
            after=TEXT,
            fixed=list_of(TEXT),
            broken=list_of(TEXT),
            rates=by_name(tuple_of(SHARE, SHARE)),
            flaky=list_of(object_of(case=TEXT, passed=COUNT, samples=COUNT)),
            confirmation=or_null(ref("confirmation")),
            labels=list_of(
                object_of(
                    field=TEXT,
                    label=TEXT,
                    cases=COUNT,
                    before=COUNT,
                    after=COUNT,
                    instead=list_of(tuple_of(TEXT, COUNT)),
                )
            ),
            same_answers=list_of(object_of(field=TEXT, answer=TEXT, count=COUNT, cases=COUNT)),
            examples=list_of(TEXT),
            verbosity=TEXT,
            asked_before=COUNT,
            heldout_before=COUNT,
            caught_up=or_null(object_of(cases=COUNT, rate=or_null(SHARE), failing=COUNT, calls=COUNT)),
            scores=list_of(ref("score")),
            models=list_of(of_model),
            worse_with=or_null(TEXT),
            migration=or_null(object_of(old=of_model, new=of_model)),
            at_fault=list_of(ref("fault")),
            passages=object_of(tried=list_of(ref("passages")), untried=COUNT),
            iterations=list_of(ref("iteration")),
        ),
    }


def _of_passages() -> dict[str, Schema]:
    """Which passages of a new text were shown to matter."""
    return {
        "passages": object_of(
            passages=list_of(TEXT),
            new=YES_OR_NO,
            verdict=one_of(PassageVerdict),
            cases=COUNT,
            needed=COUNT,
            spoiled=COUNT,
            change=CHANGE,
            every=YES_OR_NO,
            p=SHARE,
            test=TEXT,
            failing=COUNT,
            mended=COUNT,
            interval=tuple_of(SHARE, SHARE),
        ),
    }


def _of_searches() -> dict[str, Schema]:
    """The evidence for a new text, and what was tried before it."""
    return {
        "confirmation": object_of(
            verdict=one_of(ConfirmationVerdict),
            estimate=CHANGE,
            p=SHARE,
            pairs=COUNT,
            better=COUNT,
            worse=COUNT,
            calls=COUNT,
            detectable=or_null(POSITIVE),
            why=TEXT,
            needed=COUNT,
            test=TEXT,
        ),
        "iteration": object_of(
            number=COUNT,
            phase=TEXT,
            before=or_null(SHARE),
            best=SHARE,
            unverified=COUNT,
            foresight=or_null(
                object_of(rate=SHARE, low=SHARE, high=SHARE, sd=POSITIVE, run=COUNT, cases=COUNT)
            ),
            elapsed=POSITIVE,
            critiques=COUNT,
            at_fault=TEXT,
            spend=ref("spend"),
            candidates=list_of(ref("candidate")),
        ),
        "candidate": object_of(
            id=TEXT,
            prompts=list_of(TEXT),
            direction=TEXT,
            reason=TEXT,
            rate=or_null(SHARE),
            verdict=one_of(CandidateVerdict),
            why=TEXT,
            fixed=list_of(TEXT),
            broken=list_of(TEXT),
            split=or_null(one_of(Split)),
            run=COUNT,
        ),
    }


def _of_mutation() -> dict[str, Schema]:
    """What came of breaking instructions."""
    return {
        "mutation": object_of(
            runs=COUNT,
            runs_per_case=or_null(POSITIVE),
            stopped=or_null(TEXT),
            prompts=list_of(
                object_of(
                    prompt=TEXT,
                    cases=COUNT,
                    usable=COUNT,
                    failing=COUNT,
                    unanswered=COUNT,
                    left=COUNT,
                    instructions=list_of(ref("instruction")),
                )
            ),
        ),
        "instruction": object_of(
            text=TEXT,
            line=COUNT,
            verdict=one_of(Notice),
            way=or_null(one_of(Breaking)),
            ways=list_of(one_of(Breaking)),
            run=COUNT,
            failed=COUNT,
            asked_again=COUNT,
            failed_again=COUNT,
            p=SHARE,
            failing=list_of(TEXT),
            interval=tuple_of(SHARE, SHARE),
            why=or_null(TEXT),
        ),
    }
