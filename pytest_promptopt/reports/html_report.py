"""The report as one HTML file that needs no network, for people who have neither Python nor a terminal.

What was measured is data in the page, and the page's own script shows it as text: nothing that a model wrote
becomes HTML. The policy in its head allows this one script and this one style, by their hashes, and nothing
else, not even an image.
"""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from pytest_promptopt.file_writing import replace_file
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.reports.baseline_wording import noise_sentences
from pytest_promptopt.reports.check_report import gate_verdicts, limit_words
from pytest_promptopt.reports.html_cases import ROW, Table, case_details, case_rows, list_value
from pytest_promptopt.reports.html_compared import compared_data
from pytest_promptopt.reports.html_run import run_data
from pytest_promptopt.reports.json_report import plain_json
from pytest_promptopt.reports.mutation_report import mutation_page
from pytest_promptopt.reports.session_report import (
    Part,
    SessionReport,
    interval,
    parts_by_model,
    parts_by_split,
    whole,
)
from pytest_promptopt.reports.wording import NO_MODEL, calls_line, cost
from pytest_promptopt.text import encodable

#: A page that is larger is slow to send and to open; texts are cut for it.
MAX_SIZE = 5_000_000

#: Characters of one text in the details, and of one value in the list; the first that fit are taken.
LIMITS = ((8_000, 90), (2_000, 90), (600, 60), (200, 40))

#: In the order in which they are read; the first has what the others use.
SCRIPTS = (
    *("dom.js", "charts.js", "state.js", "overview.js", "compared.js", "cases.js", "details.js"),
    *("matrix.js", "run.js", "main.js"),
)


def write_html(path: Path, report: SessionReport) -> None:
    """Write the report, whole or not at all; missing folders are made. Raises `OSError`."""
    replace_file(path, html(report).encode())


def html(report: SessionReport) -> str:
    """The page; of a very large session with shorter texts."""
    page = ""
    for limit, width in LIMITS:
        if len(page) > 4 * MAX_SIZE and (limit, width) != LIMITS[-1]:
            continue  # nothing but the shortest texts will do, and each page takes its time
        page = _page(report, limit, width)
        if len(page) <= MAX_SIZE:
            break
    return page


def _page(report: SessionReport, limit: int, width: int) -> str:
    models, categories = Table(), Table()
    rows = case_rows(report, models, categories, width=width)
    data = {
        "version": report.version,
        "passed": report.passed,
        "past": list(report.past),
        "settings": _settings(report),
        "calls": calls_line(report.calls.cached, report.calls.made, report.calls.paid),
        "notes": list(report.notes),
        "compared_with": report.compared_with,
        "prompts": [_prompt(report, check, categories, width) for check in report.checks],
        "run": None
        if report.run is None
        else run_data(report.run, report.settings.rootdir, report.settings.alpha),
        "mutation": None if report.mutation is None else mutation_page(report.mutation),
        "limit": limit,
        "columns": list(ROW),
        "rows": rows,
        "models": list(models.words),
        "no_model": NO_MODEL,
        "categories": list(categories.words),
    }
    return _assembled(plain_json(data), case_details(report, limit=limit))


def _settings(report: SessionReport) -> list[tuple[str, str]]:
    """What a reader has to know of how it was measured."""
    settings = report.settings
    named = {
        "model": ", ".join(settings.models) or settings.model,
        "samples": str(settings.samples) if settings.samples > 1 else "",
        "judge": settings.judge_model,
        "optimizer": settings.optimizer_model if settings.optimizing else "",
    }
    return [(name, value) for name, value in named.items() if value]


def _prompt(report: SessionReport, check: PromptCheck, categories: Table, width: int) -> dict[str, Any]:
    feedback = report.feedbacks.get(check.prompt)
    return {
        **_part(whole(check)),
        "least": check.min_pass_rate,
        "held": check.held,
        "verdict": check.verdict,
        "limits": [{"word": word, "held": held} for word, held in limit_words(check).items()],
        "gates": [gate.line.text for gate in gate_verdicts(check)],
        "noise": list(noise_sentences(check, report.settings.alpha)),
        "compared": compared_data(report, check),
        "splits": [_part(part) for part in parts_by_split(check)],
        "models": [_part(part) for part in parts_by_model(check)],
        "categories": [
            {
                "name": category.name,
                "place": categories.place(category.name),
                "count": category.count,
                "observed": category.observed,
                "cause": category.cause,
                "fix": category.fix,
                "examples": list(category.examples),
                "confusion": [
                    [list_value(e, width), list_value(a, width), n] for e, a, n in category.confusion
                ],
            }
            for category in (() if feedback is None else feedback.categories)
        ],
    }


def _part(part: Part) -> dict[str, Any]:
    check, figures = part.check, part.figures
    return {
        "name": part.name,
        "rate": check.rate,
        "ends": interval(check),
        "cases": check.cases,
        "failing": check.failing,
        "errored": check.errored,
        "calls": figures.calls,
        "cost": cost(figures.spend) if figures.calls else "",
        "seconds": figures.latency,
    }


def _assembled(data: Any, details: list[str]) -> str:
    page = files("pytest_promptopt.reports") / "page"
    style = (page / "report.css").read_text(encoding="utf-8")
    script = "".join((page / name).read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'(() => {{\n"use strict";\n{script}}})();\n'
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>Prompt report</title>\n<style>{style}</style>\n</head>\n<body>\n"
        '<div id="page"><p class="loading">This report needs JavaScript, which runs in this file only.</p>'
        f'</div>\n<script type="application/json" id="data">{_json(data)}</script>\n'
        f'<script type="application/json" id="details">{_json(details)}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _json(data: Any) -> str:
    """As a script of data may hold it: no text in it ends the script or begins a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return encodable(text).replace("<", "\\u003c")
