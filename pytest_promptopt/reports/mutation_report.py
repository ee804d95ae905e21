"""Which instructions no test notices: in the terminal, in Markdown, and in JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from pytest_promptopt.mutation.breaking import DONE
from pytest_promptopt.mutation.findings import Finding, MutationResult, Notice, PromptFindings
from pytest_promptopt.reports.lines import BAD, BOLD, DIM, GOOD, PLAIN, WARN, Line
from pytest_promptopt.reports.markdown_text import code, table, words
from pytest_promptopt.settings import Breaking
from pytest_promptopt.text import cut_end, excerpt, one_line, plural

#: What is most worth reading comes first.
ORDER = (Notice.UNNOTICED, Notice.CANNOT_TELL, Notice.NOTICED, Notice.NOT_TRIED)

_MARKUP = {Notice.UNNOTICED: BAD, Notice.CANNOT_TELL: WARN, Notice.NOTICED: GOOD, Notice.NOT_TRIED: DIM}

#: Characters of an instruction.
MAX_TEXT = 100


def mutation_lines(result: MutationResult, *, width: int = 100) -> list[Line]:
    """The section of the terminal."""
    lines: list[Line] = []
    for prompt in result.prompts:
        lines.append(Line(f"{prompt.prompt}: {verdict_sentence(prompt)}", BOLD))
        for finding in _sorted(prompt):
            lines.append(Line(f"  {place(prompt, finding)}: {said(finding)}", _MARKUP[finding.verdict]))
            lines.append(Line(f"      {excerpt(one_line(finding.text), max(20, width - 6))}", DIM))
        lines += [Line(f"  {sentence}", PLAIN) for sentence in about_cases(prompt)]
    if result.stopped:
        lines.append(Line(f"it ended early: {result.stopped}", WARN))
    if result.runs:
        lines.append(Line(runs_sentence(result), DIM))
    return lines


def mutation_blocks(result: MutationResult) -> Iterator[str]:
    """The same as blocks of Markdown."""
    for prompt in result.prompts:
        yield f"### {code(prompt.prompt)}: {words(verdict_sentence(prompt))}"
        rows = [("line", "instruction", "what the tests say")]
        for finding in _sorted(prompt):
            text = code(cut_end(one_line(finding.text), MAX_TEXT))
            rows.append((f"{finding.line:,}", text, words(said(finding))))
        if len(rows) > 1:
            yield table(rows, right=[0])
        if sentences := about_cases(prompt):
            yield "\n".join(f"* {words(sentence)}" for sentence in sentences)
    if result.stopped:
        yield f"**It ended early: {words(result.stopped)}**"
    if result.runs:
        yield f"{words(runs_sentence(result))}."


def mutation_json(result: MutationResult) -> dict[str, Any]:
    """The object ``mutation`` of the JSON report."""
    return {
        "runs": result.runs,
        "runs_per_case": result.runs_per_case,
        "stopped": result.stopped or None,
        "prompts": [
            {
                "prompt": prompt.prompt,
                "cases": prompt.cases,
                "usable": prompt.usable,
                "failing": prompt.failing,
                "unanswered": prompt.unanswered,
                "left": prompt.left,
                "instructions": [
                    {**dataclasses.asdict(each), "interval": each.interval, "why": each.why or None}
                    for each in prompt.findings
                ],
            }
            for prompt in result.prompts
        ],
    }


def mutation_page(result: MutationResult) -> dict[str, Any]:
    """The same for the HTML report, in its words."""
    about = [runs_sentence(result)] if result.runs else []
    return {
        "stopped": result.stopped,
        "about": about,
        "prompts": [
            {
                "prompt": prompt.prompt,
                "said": verdict_sentence(prompt),
                "about": about_cases(prompt),
                "found": [
                    [each.verdict.value, each.line, one_line(each.text), said(each)]
                    for each in _sorted(prompt)
                ],
            }
            for prompt in result.prompts
        ],
    }


def _sorted(prompt: PromptFindings) -> list[Finding]:
    return sorted(prompt.findings, key=lambda each: (ORDER.index(each.verdict), each.line))


def verdict_sentence(prompt: PromptFindings) -> str:
    """``no test notices 2 of 9 instructions``."""
    unnoticed, tried = prompt.counts
    if not prompt.findings:
        return "no instruction was found"
    if not tried:
        return f"none of {plural(len(prompt.findings), 'instruction')} was tried"
    unclear = sum(each.verdict is Notice.CANNOT_TELL for each in prompt.findings)
    told = f"no test notices {unnoticed:,} of {plural(tried, 'instruction')}"
    return told + f", {unclear:,} cannot be told" * bool(unclear)


def place(prompt: PromptFindings, finding: Finding) -> str:
    """``prompts/route.md:4``."""
    return f"{prompt.prompt.partition('::')[0]}:{finding.line}"


def said(finding: Finding) -> str:
    """What came of one instruction: ``noticed by 8 of 8 cases (68% to 100%)``."""
    low, high = (f"{100 * end:.0f}%" for end in finding.interval)
    failed = f"{finding.failed:,} of {plural(finding.run, 'case')}"
    match finding.verdict:
        case Notice.NOTICED:
            return f"noticed by {failed} ({low} to {high}){_ways(finding)}"
        case Notice.UNNOTICED:
            luck = f"; {plural(finding.failed, 'case')} failed once, by what looks like luck"
            ways = f", {' or '.join(DONE[way] for way in finding.ways)}" * (len(finding.ways) > 1)
            none = f"{finding.failed_again:,} of {finding.run:,}; at most {high}"
            return f"no test notices it{ways} ({none}{luck * bool(finding.failed)})"
        case Notice.CANNOT_TELL:
            again = f"{finding.failed_again:,} of {finding.asked_again:,} asked again failed mostly"
            return f"cannot tell: {failed} failed, {again} (p = {finding.p:.2g})"
    return f"not tried: {finding.why}"


def _ways(finding: Finding) -> str:
    """By what an instruction was noticed, where it was not simply left out."""
    if finding.way is None or finding.way is Breaking.DELETE:
        return ""
    others = " or ".join(DONE[way] for way in finding.ways if way is not finding.way)
    return f" when it is {DONE[finding.way]}" + f", not when it is {others}" * bool(others)


def about_cases(prompt: PromptFindings) -> list[str]:
    """What a reader must know of the cases, a sentence each."""
    told = []
    if prompt.failing:
        told.append(
            f"{plural(prompt.failing, 'case')} of {prompt.cases:,} failed with the prompt as it is: "
            "such a case cannot notice anything"
        )
    if prompt.unanswered:
        told.append(f"{plural(prompt.unanswered, 'case')} of {prompt.cases:,} had no verdict")
    if prompt.left:
        stay = "must stay as they are, and were" if prompt.left > 1 else "must stay as it is, and was"
        told.append(f"{plural(prompt.left, 'instruction')} {stay} not broken")
    return told


def runs_sentence(result: MutationResult) -> str:
    """What it took."""
    per = f", {result.runs_per_case:.2f} for each case and instruction" if result.runs_per_case else ""
    return f"{result.runs:,} runs of cases{per}"
