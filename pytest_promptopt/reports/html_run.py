"""What ``--optimize`` did, as the HTML report holds it: evidence, diffs, and the tree of candidates."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_promptopt.prompts import unified_diff
from pytest_promptopt.records import Spend
from pytest_promptopt.reports.candidate_matrix import matrix_data
from pytest_promptopt.reports.evidence_wording import (
    SEEN_AGAIN,
    asked_again,
    confirmation_sentence,
    heldout_sentence,
    outcome_words,
    upper,
    why_unwritten,
)
from pytest_promptopt.reports.html_passages import passages_data
from pytest_promptopt.reports.labels import dominant_answer_lines
from pytest_promptopt.reports.passage_evidence import passage_evidence
from pytest_promptopt.reports.stage_wording import fault_sentence, faults_sentence
from pytest_promptopt.reports.tried_texts import ORIGINAL, TriedTexts, read_journal
from pytest_promptopt.reports.wording import SPLIT_NAMES, cost, duration
from pytest_promptopt.results import CandidateResult, Iteration, PromptResult, RunResult, SplitScore
from pytest_promptopt.text import cut_end, plural

#: Characters of the diff of one candidate.
MAX_DIFF = 6_000

#: Cases that a candidate fixed or broke, by name; all are counted.
MAX_CASES = 200

_WORD = re.compile(r"\w+|\s+|.", re.DOTALL)


def run_data(run: RunResult, root: Path, alpha: float) -> dict[str, Any]:
    """One run, with those of several strategies where they were compared."""
    tried = read_journal(run, root)
    return {
        "strategy": run.strategy,
        "interrupted": run.interrupted,
        "elapsed": duration(run.elapsed),
        "journal": run.journal,
        "errors": list(run.errors),
        "notes": list(run.notes),
        "spend": [
            [role.value, spend.calls, spend.input_tokens, spend.output_tokens, cost(spend)]
            for role, spend in run.spend.items()
            if spend.calls
        ],
        "total": cost(sum(run.spend.values(), Spend())),
        "prompts": [_prompt(prompt, tried, alpha) for prompt in run.prompts],
        "compared": [run_data(each, root, alpha) for each in run.compared],
    }


def _prompt(prompt: PromptResult, tried: TriedTexts, alpha: float) -> dict[str, Any]:
    changed = prompt.before != prompt.after
    return {
        "prompt": prompt.prompt,
        "outcome": prompt.outcome.value,
        "words": outcome_words(prompt),
        "written": prompt.written,
        "unwritten": why_unwritten(prompt),
        "stop": f"{prompt.stop}: {prompt.why}" if prompt.why else prompt.stop,
        "note": prompt.note,
        "evidence": _evidence(prompt, alpha) if changed else [],
        "warnings": [*dominant_answer_lines(prompt), *filter(None, [prompt.verbosity])] if changed else [],
        "scores": [_score(score) for score in prompt.scores if score.cases],
        "models": [
            [change.model, [_score(score) for score in change.scores if score.cases]]
            for change in (
                (prompt.migration.old, prompt.migration.new) if prompt.migration else prompt.models
            )
        ],
        "fixed": _cases(prompt.fixed),
        "broken": _cases(prompt.broken),
        "faults": faults_sentence(prompt.at_fault),
        "at_fault": [[fault.case, fault_sentence(fault)] for fault in prompt.at_fault[:MAX_CASES]],
        "diff": side_by_side(prompt.before, prompt.after) if changed else [],
        "passages": passages_data(passage_evidence(prompt, tried, alpha), prompt.before, prompt.after),
        "iterations": [_iteration(each, prompt, tried) for each in prompt.iterations],
        "matrix": matrix_data(prompt.prompt, _candidates(prompt), tried),
    }


def _candidates(prompt: PromptResult) -> list[str]:
    return list(dict.fromkeys(made.id for each in prompt.iterations for made in each.candidates))


def _evidence(prompt: PromptResult, alpha: float) -> list[str]:
    told = [] if prompt.confirmation is None else [confirmation_sentence(prompt.confirmation)]
    told.append(heldout_sentence(prompt.scores, alpha))
    if runs := prompt.asked_before:
        told.append(f"{plural(runs, 'earlier run')} asked these cases; {asked_again(alpha)}")
    if runs := prompt.heldout_before:
        told.append(f"{plural(runs, 'earlier run')} scored these held-out cases: {SEEN_AGAIN}")
    return [upper(sentence) for sentence in told]


def _score(score: SplitScore) -> dict[str, Any]:
    return {
        "split": SPLIT_NAMES[score.split],
        "cases": score.cases,
        "errored": score.errored,
        "before": score.before,
        "after": score.after,
        "ends": None if score.after is None else score.interval(score.after),
        "ends_before": None if score.before is None else score.interval(score.before),
        "fixed": score.fixed,
        "broken": score.broken,
        "unverified": score.unverified,
    }


def _cases(ids: Sequence[str]) -> dict[str, Any]:
    return {"count": len(ids), "ids": list(ids[:MAX_CASES])}


def _iteration(iteration: Iteration, prompt: PromptResult, tried: TriedTexts) -> dict[str, Any]:
    parent = _parent(iteration, prompt, tried)
    foresight = iteration.foresight
    return {
        "number": iteration.number,
        "phase": iteration.phase,
        "before": iteration.before,
        "best": iteration.best,
        "ends": None if foresight is None else [foresight.low, foresight.high],
        "unverified": iteration.unverified,
        "critiques": iteration.critiques,
        "calls": iteration.spend.calls,
        "cost": cost(iteration.spend),
        "elapsed": duration(iteration.elapsed),
        "parent": parent,
        "candidates": [_candidate(each, parent, prompt, tried) for each in iteration.candidates],
    }


def _parent(iteration: Iteration, prompt: PromptResult, tried: TriedTexts) -> str:
    """The text that the candidates of an iteration were made from."""
    together = prompt.pipeline or (prompt.prompt,)
    if (incumbent := tried.incumbent(iteration.number - 1, together)) is not None:
        return incumbent
    accepted = [
        candidate.id
        for earlier in prompt.iterations
        if earlier.number < iteration.number
        for candidate in earlier.candidates
        if candidate.verdict == "accepted"
    ]
    return accepted[-1] if accepted else ORIGINAL


def _candidate(
    candidate: CandidateResult, parent: str, prompt: PromptResult, tried: TriedTexts
) -> dict[str, Any]:
    text = tried.text(candidate.id, prompt.prompt)
    before = tried.text(parent, prompt.prompt) or prompt.before
    diff = "" if text is None else unified_diff(before, text, name=prompt.prompt)
    return {
        "id": candidate.id,
        "direction": candidate.direction,
        "reason": candidate.reason,
        "rate": candidate.rate,
        "split": SPLIT_NAMES[candidate.split] if candidate.split else "",
        "run": candidate.run,
        "verdict": candidate.verdict.value or "undecided",
        "why": candidate.why,
        "fixed": _cases(candidate.fixed),
        "broken": _cases(candidate.broken),
        "diff": [cut_end(line, MAX_DIFF) for line in cut_end(diff, MAX_DIFF).split("\n")[2:]],
    }


def side_by_side(before: str, after: str) -> list[list[Any]]:
    """Rows of a diff: kind, number and parts of the line before, number and parts of the line after.

    Kinds are ``=``, ``~`` (changed), ``-``, ``+``. Of the parts of a line every second one has changed; a row
    without one of the lines has null there.
    """
    old, new = before.split("\n"), after.split("\n")
    rows: list[list[Any]] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            rows += [["=", n + 1, [old[n]], c + n - a + 1, [old[n]]] for n in range(a, b)]
            continue
        pairs = min(b - a, d - c)
        for n in range(pairs):
            left, right = _changed_words(old[a + n], new[c + n])
            rows.append(["~", a + n + 1, left, c + n + 1, right])
        rows += [["-", n + 1, [old[n]], None, None] for n in range(a + pairs, b)]
        rows += [["+", None, None, n + 1, [new[n]]] for n in range(c + pairs, d)]
    return rows


def _changed_words(old: str, new: str) -> tuple[list[str], list[str]]:
    """Two lines, each as parts that are equal and changed in turn."""
    one, other = _WORD.findall(old), _WORD.findall(new)
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    if matcher.quick_ratio() < 0.3 or max(len(one), len(other)) > 2_000:
        return ["", old], ["", new]  # they have nothing to do with each other, or it would take too long
    left, right = [""], [""]
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            left[-1] += "".join(one[a:b])
            right[-1] += "".join(other[c:d])
        else:
            left += ["".join(one[a:b]), ""]
            right += ["".join(other[c:d]), ""]
    return left, right
