"""The report as a JSON file, for dashboards and scripts.

Rates are shares from 0 to 1, money is US dollars, times are seconds, paths are relative to the root
folder, splits are ``train``, ``validation``, ``heldout``. null means: not known, not measured or not
asked for. Keys may be added under the same schema number; none is removed or changes its meaning.

The report: ``schema`` (1), ``version`` of pytest-promptopt, ``settings`` (every setting of the session
as resolved, without the root folder), ``passed`` (whether every threshold holds; true when there is
none), ``prompts``, ``models``, ``compared``, ``calls``, ``run``, ``mutation``, ``notes`` (the sentences at
the end of the session: who judged answers, say). The file ``reports/report.schema.json`` in the package is
the JSON Schema of all this.

``calls`` is what the session asked of models: how many answers were ``cached``, how many calls were ``made``
besides, the ``requests`` sent for these, repeated ones too, their ``input_tokens``, ``output_tokens``,
``cost`` (null when no price is known), and how many are ``unpriced``.

``prompts``, one object per prompt, is what pytest's own loop measured:

* ``prompt`` (its path), ``rate``, ``cases`` (with or without a usable answer), ``failing`` and
  ``errored`` of them
* ``min_pass_rate``, ``held`` (whether it is reached, with each model), ``where`` it was asked for
* ``gates``, one object per model, or one for all: ``model`` (null for all), ``verdict`` (``pass``, ``fail``,
  ``undecided``), its ``interval`` (a list of its ends, null where the measured rate decides), and of an
  undecided one about how many further ``samples`` of each case, or else further ``cases``, would decide it
* ``limits``, one object per limit, and per model where several answer: ``name`` (``max_cost_per_case``,
  ``p95_latency``), ``model``, the ``most`` that is allowed (US dollars, seconds), what was ``measured`` (null
  without an answer, or when one has no known price), whether it ``held``, ``where`` it was asked for, its
  ``calls`` and how many of them are ``unpriced``
* ``categories`` of failures: ``name``, ``count``, ``observed``, ``cause``, ``fix``, ``examples`` and
  ``cases`` (node ids), ``confusion`` (lists of expected, actual, count)
* ``models``, one object per model that answered its cases: ``model`` (null when none was named), ``rate``,
  ``cases``, ``failing``, ``errored``, ``held`` (whether the prompt's ``min_pass_rate`` is reached with it);
  the number of ``calls`` in these cases, their ``cost`` as they were paid, now or when they came into the
  cache (null when no price is known), how many are ``unpriced``, ``latency_p50``: the median of their
  seconds, ``noise`` (null when no case ran several times): of so many ``cases`` that did, how many are
  ``flipping``: they both passed and failed, and the ``smallest`` change of the mean rate that a comparison of
  two such runs shows (null when it shows none)
* ``results``, one object per case: ``id``, ``case`` (its id without the model), ``model``, ``split``,
  ``status`` (``passed``, ``failed``, ``errored``, ``skipped``), ``rate``, ``samples`` (how often it ran),
  ``counted`` (how many of these are in the rate), ``weight`` (how much the case counts in the rate of the
  prompt), ``flaky`` (whether it both passed and failed);
  ``category``, ``expected``, ``actual``, ``message`` of its first failed sample (``expected`` is null also
  when the test states a constraint: see ``message``; ``category`` is null also where another stage of a
  pipeline is at fault); ``error`` of its first sample whose model call failed;
  ``stage_at_fault``, null but for a failing case of a pipeline: ``stage`` (the path of its prompt, empty
  where that is unclear), its ``share`` (how probably it is at fault), ``by`` (``ended``, ``grade``, ``swap``:
  a passing sample parts from it there, ``repeats``, ``others``), ``why``;
  ``verdicts`` of judges on its first sample that has an answer: ``criterion``, ``score``, ``issues``,
  ``strengths``, ``suggestions`` (``text``, ``category``, ``impact``), ``reasons``, ``threshold``, ``model``;
  ``stages`` of a pipeline on its first failed sample, else empty: ``prompt``, its number of ``calls``, of the
  last one ``inputs`` and ``output``, cut to about 2,000 characters; ``grade`` (null for none) and ``why``

``models``, one object per prompt, or pipeline, whose cases ran with several models:

* ``prompts``, ``models`` (their names)
* ``differences``, one object per pair of models: ``first`` passes at least as many cases as ``second``,
  ``gain`` (by how much its rate is higher over the ``cases`` that both answered), on how many of them it is
  ``better`` and ``worse``, the exact two-sided ``p`` of its ``test`` (the paired permutation test where
  rates differ by less than a whole case), and ``adjusted``: ``p`` corrected for all pairs of models
* ``rates`` of each case, by its id without the model and by model, and the ``differing`` ones among them

``compared`` is empty without ``--promptopt-compare``, else has one object per prompt and model:

* ``prompt``, ``model``, what it was compared ``with`` (the path of the baseline, or ``git:`` and a commit)
* over the ``cases`` that could be compared, all null without one: their rates ``before`` and ``now``; the
  ``change`` (from -1 to 1; 0.05 is five points); its exact ``p``, which is ``p_worse`` of a loss and else
  ``p_better``, both one-sided, of a ``test`` as in ``scores`` below; whether the text is known to be the
  ``same_text`` in all of them
* ``verdict``: ``gain`` or ``loss`` where one is shown, ``loss within margin``, ``gain not shown``, ``loss not
  shown``, ``no change``, ``incomparable`` (the baseline has the prompt, and nothing of it can be compared),
  ``new`` (the baseline does not have it); the same in ``words``, as in the terminal
* ``fail_on`` (null when a comparison is only told), ``margin`` (a share), whether it ``failed`` the session
* cases, by their ids without the model, each in one of these lists: ``fixed``, ``broken``, ``flaky``
  (passed and failed under one text), ``new``, ``removed``, and ``not_compared``, one object per reason:
  ``why``, ``cases``
* ``answers`` of the fixed and broken cases, each ``before`` and ``now``, cut to about 200 characters
* ``other_models``: who answered the cases before, where none of them was answered by this model
* ``categories`` of failures, the largest change first: ``name``, how many cases ``before`` and ``now``
* ``cost`` of the cases and ``latency_p50``, each ``before`` and ``now``, null when they are not known

``run`` is null without ``--optimize``, else what it did:

* ``id``, ``journal``, ``elapsed``, ``interrupted``, ``notes``, the ``strategy`` that searched, ``errors``:
  what went wrong in hooks, strategies and models, in sentences
* ``compared``, when several strategies were: one such object for each, whose ``spend`` is what it would have
  paid alone with an empty cache; ``prompts`` is empty then, ``spend`` is what was really paid, and ``id`` and
  ``journal`` are null
* ``spend``, by role: ``calls``, ``input_tokens``, ``output_tokens``, ``unpriced`` (calls without a known
  price), ``cost`` of the others (null when there are none)
* ``prompts``, one object per prompt: ``prompt``, ``outcome``, ``stop`` and ``why`` it stopped,
  ``accepted`` (whether ``after`` may be written: an ``outcome`` ``not shown`` is with
  ``--promptopt-accept=best``), ``written``, why a changed text is ``unwritten`` (``dry run``,
  ``interrupted``, an error), ``note``, the text ``before`` and ``after``, ``fixed`` and ``broken`` (node ids)
  and the ``rates`` of these over their samples (lists of before, after, by node id), ``pipeline`` (the
  prompts that were refined together with it, itself included, and have the same scores; empty for a prompt
  on its own)
* their ``flaky`` cases, which both passed and failed under the text ``before``: ``case``, ``passed`` of its
  ``samples``, fresh answers included
* their ``confirmation``, null when there was nothing to confirm: ``verdict`` (``improved``, ``not shown``,
  ``worse``), ``estimate`` of the change of the pass rate over train and validation, the exact one-sided
  ``p``, ``pairs`` of fresh answers, how many were ``better`` and ``worse``, ``calls`` paid, the gain that is
  ``detectable`` with so many pairs, ``why`` it ended early, how many more calls are ``needed`` to show a gain
  that is not shown (0 when none will), the name of the ``test`` that ``p`` is of (``sign test``, ``randomized
  sign test`` where rates are between 0 and 1, ``test of repeated results``)
* ``labels``, right and wrong on train and validation by what is expected, empty where that is not known or
  they are no labels: ``field`` (the key of JSON answers, empty for the answer itself), ``label``, its
  ``cases``, how many are right ``before`` and ``after``, ``instead`` (lists of a wrong answer and how often
  it came, the empty text standing for what is no label and came once, or is long)
* ``same_answers``, what ``after`` answers to nearly every train and validation case though they expect
  different answers: ``field``, ``answer``, ``count`` of its ``cases``
* ``examples``: the training cases (node ids) that stand in ``after`` as few-shot examples
* ``verbosity``: a warning where answers got longer and only a judge likes them better, else empty
* ``asked_before``: how often a gain on these train and validation cases was tested in earlier runs, and
  ``heldout_before``: how often these held-out cases were scored
* ``caught_up``, null when the search had run every case: ``cases`` run with ``after`` at last, ``failing`` of
  them, the ``rate`` then of all cases of their splits, ``calls`` paid
* their ``scores``, per split: ``split``, ``cases``, ``errored``, the rates ``before`` and ``after``, how
  many cases were ``fixed`` and ``broken``, how many others got a higher rate and still fail (``raised``) or a
  lower one (``lowered``), how many further ones are ``unverified`` (``after`` was not run on them, and no
  figure counts them), how many cases are ``examples`` in the text (each was run without its own), the 95 %
  ``interval`` (low, high) of ``after``,
  and ``p_better`` and ``p_worse``, exact and one-sided, of the ``test`` of these changes: the ``sign test``,
  or, where rates changed by less than a whole case (scores of a judge, subtests, samples), the
  ``paired permutation test``
* ``models``, with each of several models the ``scores`` as above: ``model``, ``scores``; and ``worse_with``:
  the model with which ``after`` is shown to be worse, so that it was not written
* their ``migration``, null without one: ``old`` and ``new``, each a ``model`` and its ``scores`` on held-out
  cases
* ``at_fault``, of a pipeline, one object per case that failed under ``before``, by all that was known in the
  end: ``case``, and as above ``stage``, ``share``, ``by`` (also ``text``, ``judge``), ``why``, and whether
  this stage is ``frozen``
* their ``passages``, by texts that were tried with and without them: ``tried``, one object per set of
  passages that only one of two texts had: ``passages`` (lines and sentences), ``new`` (whether they stand in
  ``after``; else only in ``before``), of how many train and validation ``cases``, flaky ones left out, that
  ran with and without them how many pass only with them (``needed``) or only without (``spoiled``), the
  ``change`` of their pass rate, whether these are ``every`` such case or some that the search has chosen, the
  exact two-sided ``p`` of the ``test`` of these changes, corrected for all sets, the 95 % ``interval`` of the
  share that needs them (that they spoil where the verdict is ``does harm``), how many cases ``failing`` with
  them were run without them to find a fault and how many of these are ``mended``, and the ``verdict``:
  ``matters``, ``does harm``, ``no difference seen``, ``may be chance``; and how many passages of ``after``
  are ``untried``
* their ``iterations``: ``number``, ``phase``, the rate ``before`` and the ``best`` after, how many
  training cases this text leaves ``unverified``, its ``foresight`` (null in the validation phase:
  ``rate``, the ends ``low`` and ``high`` of its 90 % interval, its standard deviation ``sd``, how many of
  ``cases`` were ``run``; ``best`` is measured when all were), ``elapsed``, how many ``critiques`` of the
  worst answers a model was asked for, which stages its failing cases were put down to (``at_fault``, in
  words), ``spend``, ``candidates`` with
  ``id``, ``prompts``, ``direction``, ``reason``, ``rate`` and the ``split`` that it was measured or
  estimated on, how many of its cases were ``run`` and compared (with an answer under both texts, examples in
  neither), ``verdict``, ``why``, ``fixed``, ``broken``

``mutation`` is null without ``--promptopt-mutate``, else what came of breaking instructions (``prompts``
above is empty then):

* ``runs`` of cases, known answers included, ``runs_per_case``: for each case and instruction (null when none
  was tried), what ``stopped`` it before its time (null when nothing did)
* ``prompts``, one object per prompt: ``prompt``, its ``cases``, how many are ``usable`` since they pass with
  the prompt as it is, ``failing`` already, ``unanswered``, and how many instructions were ``left`` as they
  are
* their ``instructions``: ``text``, ``line`` of the file, ``verdict`` (``noticed``, ``not noticed``, ``cannot
  tell``, ``not tried``), the ``ways`` tried (``delete``, ``weaken``, ``negate``) and the ``way`` that the
  figures are of (null when none was), on how many cases it was ``run``, how many ``failed``, were
  ``asked_again``, and ``failed_again`` more often than not, ids of some that are ``failing``, the exact
  one-sided ``p`` of the fresh answers, the 95 % ``interval`` of the share of cases that notice it, and
  ``why`` it was not tried
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_promptopt.baselines.noise import SuiteNoise
from pytest_promptopt.file_writing import replace_file
from pytest_promptopt.gate_rule import GateDecision
from pytest_promptopt.model_comparison import ModelComparison, ModelFigures, model_figures
from pytest_promptopt.optimizer.flaky_cases import flaky_cases
from pytest_promptopt.optimizer.stage_faults.telling import tell_by_results
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import CaseResult
from pytest_promptopt.reports.baseline_json import compared_json, noise_json
from pytest_promptopt.reports.baseline_wording import noises
from pytest_promptopt.reports.json_run import run_json, spend_json
from pytest_promptopt.reports.mutation_report import mutation_json
from pytest_promptopt.reports.session_report import SessionCalls, SessionReport
from pytest_promptopt.reports.stage_wording import fault_json
from pytest_promptopt.stage_trace import stage_trace
from pytest_promptopt.thresholds import LimitGate

if TYPE_CHECKING:
    from pytest_promptopt.failures import FailedCase, Feedback
    from pytest_promptopt.settings import Settings

REPORT_SCHEMA = 1


def write_json(path: Path, report: SessionReport) -> None:
    """Write the report, whole or not at all; missing folders are made. Raises `OSError`."""
    replace_file(path, f"{json.dumps(report_json(report), indent=2, allow_nan=False)}\n".encode())


def report_json(report: SessionReport) -> dict[str, Any]:
    """The report as strict JSON has it."""
    found = {
        "schema": REPORT_SCHEMA,
        "version": report.version,
        "settings": _settings(report.settings),
        "passed": report.passed,
        "prompts": [
            _check(check, report.feedbacks.get(check.prompt), noises(check, report.settings.alpha))
            for check in report.checks
        ],
        "models": [_comparison(comparison) for comparison in report.comparisons],
        "compared": compared_json(report),
        "calls": _calls(report.calls),
        "run": None if report.run is None else run_json(report.run, report.settings),
        "mutation": None if report.mutation is None else mutation_json(report.mutation),
        "notes": list(report.notes),
    }
    plain: dict[str, Any] = plain_json(found)
    return plain


def _calls(calls: SessionCalls) -> dict[str, Any]:
    paid = spend_json(calls.paid)
    return {"cached": calls.cached, "made": calls.made, "requests": paid.pop("calls"), **paid}


def _settings(settings: Settings) -> dict[str, Any]:
    named = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    del named["rootdir"]
    return named


def _check(check: PromptCheck, feedback: Feedback | None, noise: Mapping[str, SuiteNoise]) -> dict[str, Any]:
    categories = () if feedback is None else feedback.categories
    failed = {} if feedback is None else feedback.by_case
    at_fault = tell_by_results(check.results)
    return {
        "prompt": check.prompt,
        "rate": check.rate,
        "cases": check.cases,
        "failing": check.failing,
        "errored": check.errored,
        "min_pass_rate": check.min_pass_rate,
        "held": check.held,
        "where": check.where or None,
        "gates": [_gate(model, part.decision) for model, part in check.by_gate.items()],
        "limits": [_limit(limit) for limit in check.limits],
        "categories": [dataclasses.asdict(category) for category in categories],
        "models": [_model(figures, noise.get(figures.model)) for figures in model_figures(check)],
        "results": [
            {
                **_result(result, check.prompt, failed.get(result.case.id)),
                "stage_at_fault": fault_json(at_fault.get(result.case.id)),
            }
            for result in check.results
        ],
    }


def _gate(model: str, decision: GateDecision | None) -> dict[str, Any]:
    if decision is None:
        return {"model": model or None, "verdict": None, "interval": None, "samples": None, "cases": None}
    interval = decision.interval
    return {
        "model": model or None,
        "verdict": decision.verdict,
        "interval": None if interval is None else (interval.low, interval.high),
        "samples": decision.samples,
        "cases": decision.cases,
    }


def _limit(limit: LimitGate) -> dict[str, Any]:
    return {
        "name": limit.name,
        "model": limit.model or None,
        "most": limit.limit.value,
        "measured": limit.measured,
        "held": limit.held,
        "where": limit.limit.where or None,
        "calls": limit.calls,
        "unpriced": limit.unpriced,
    }


def _model(figures: ModelFigures, noise: SuiteNoise | None) -> dict[str, Any]:
    check = figures.check
    return {
        "model": figures.model or None,
        "rate": check.rate,
        "cases": check.cases,
        "failing": check.failing,
        "errored": check.errored,
        "held": check.held,
        "calls": figures.calls,
        "cost": figures.cost,
        "unpriced": figures.unpriced,
        "latency_p50": figures.latency,
        "noise": noise_json(noise),
    }


def _comparison(comparison: ModelComparison) -> dict[str, Any]:
    return {
        "prompts": comparison.prompts,
        "models": [figures.model or None for figures in comparison.models],
        "differences": [dataclasses.asdict(difference) for difference in comparison.differences],
        "rates": comparison.rates,
        "differing": list(comparison.differing),
    }


def _result(result: CaseResult, prompt: str, failed: FailedCase | None) -> dict[str, Any]:
    failure = None if result.failing is None else result.failing.failure
    shown = result.counted or result.outcomes
    return {
        "id": result.case.id,
        "case": result.case.pair or result.case.id,
        "model": result.case.model_of(prompt) or None,
        "split": result.case.split,
        "status": result.status,
        "rate": result.rate,
        "samples": len(result.outcomes),
        "counted": len(result.counted),
        "weight": result.case.weight,
        "flaky": bool(flaky_cases([result])),
        "category": None if failed is None else failed.category,
        "expected": failure and failure.expected,
        "actual": failure and failure.actual,
        "message": failure and failure.message,
        "error": next((o.error for o in result.outcomes if o.error), None),
        "verdicts": [verdict.to_json() for outcome in shown[:1] for verdict in outcome.verdicts],
        "stages": [stage.to_json() for stage in stage_trace(result.failing)],
    }


def plain_json(value: Any) -> Any:
    """`value` as strict JSON has it: operands come from tests and may be anything, also not finite."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    return value.as_posix() if isinstance(value, Path) else repr(value)
