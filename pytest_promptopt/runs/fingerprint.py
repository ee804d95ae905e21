"""What a run stands on, so that it is continued only where that is still so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_promptopt.records import ANSWER_SCHEMA, Case
from pytest_promptopt.settings import Settings

#: Raised when what is in a fingerprint changes, so that a run that stands on an older one is not continued.
FINGERPRINT_SCHEMA = 1

#: Settings that may differ when a run is continued: they say how far it goes and what is shown, not what
#: follows from an answer.
FREE = frozenset(
    {
        "rootdir",
        "mode",
        "resume",
        "options",
        "max_iterations",
        "plateau",
        "target",
        "max_calls",
        "max_tokens",
        "max_cost",
        "max_time",
        "concurrency",
        "cache",
        "min_pass_rate",
        "max_cost_per_case",
        "p95_latency",
        "gate",
        "undecided",
        "gate_samples",
        "gate_margin",
        "gate_confidence",
        "gate_population",
        "gate_split",
        "gate_partial",
        "save_baseline",
        "compare",
        "fail_on",
        "compare_margin",
        "reports",
        "pr_body",
    }
)

#: These are compared as they come out, after marks and prompt files.
MODELS = frozenset({"model", "models", "optimizer_model"})

#: Settings that change nothing of what is asked of whom in a search.
_JUDGING = frozenset({"accept", "alpha", "learn"})

#: How many things of a kind are named.
_NAMED = 3


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fingerprint(
    *,
    prompts: Mapping[str, bytes],
    tests: Mapping[str, bytes],
    cases: Iterable[Case],
    inputs: Mapping[str, str],
    code: Mapping[str, Path],
    models: Mapping[str, str],
    settings: Settings,
) -> dict[str, Any]:
    """JSON-like, equal where equal answers lead to equal decisions.

    :param prompts: name -> bytes of each prompt file.
    :param tests: name -> bytes of each file with a case.
    :param inputs: case -> what it is about: its parameters, as text.
    :param code: name -> path of other files that the tests use; a change of theirs may be without effect.
    :param models: prompt and what else asks -> the model that answers.
    """
    found = {
        "fingerprint": FINGERPRINT_SCHEMA,
        "schema": ANSWER_SCHEMA,
        "prompts": {name: digest(content) for name, content in prompts.items()},
        "tests": {name: digest(content) for name, content in tests.items()},
        "cases": {case.id: _of(case) for case in cases},
        "inputs": {case: digest(text.encode("utf-8", "surrogatepass")) for case, text in inputs.items()},
        "code": {name: digest(path.read_bytes()) for name, path in code.items() if path.is_file()},
        "models": dict(models),
        "settings": {name: value for name, value in asdict(settings).items() if name not in FREE | MODELS},
    }
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def _of(case: Case) -> list[str]:
    checks = [case.checks] if case.checks else []
    return [*case.prompts, str(case.split), str(case.samples), *checks]


def same_search(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a run on `now` is one on `before` once more, as far as its search goes: it asks the same.

    Another helper file may be without effect, and so it is taken to be.
    """
    return _searched(before) == _searched(now)


def _searched(found: Mapping[str, Any]) -> dict[str, Any]:
    settings = {name: value for name, value in found["settings"].items() if name not in _JUDGING}
    return {**found, "settings": settings, "code": None}


def reasons_not_to_continue(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Why a run cannot be continued, a sentence each."""
    if before.get("fingerprint", 1) != now["fingerprint"]:
        yield (
            f"what it stands on is stored in schema {before.get('fingerprint', 1)}, "
            f"this version stores it in schema {now['fingerprint']}"
        )
        return
    if before.get("schema") != now["schema"]:
        yield f"its answers are of schema {before.get('schema')}, this version's of schema {now['schema']}"
        return
    for kind, noun in (("prompts", "the prompt file"), ("tests", "the test file")):
        for name in _changed(before[kind], now[kind], both=True):
            yield f"{noun} {name} has changed since"
    yield from _cases(before["cases"], now["cases"])
    changed = _changed(before.get("inputs", {}), now["inputs"], both=True)
    yield from _named(changed, "of other parameters than then")
    for name in _changed(before["models"], now["models"], both=True):
        yield f"the model of {name} was {before['models'][name]} and is {now['models'][name]}"
    for name in _changed(before["settings"], now["settings"]):
        was, is_ = before["settings"].get(name), now["settings"].get(name)
        yield f"{name.replace('_', '-')} was {was} and is {is_}"


def _changed(before: Mapping[str, Any], now: Mapping[str, Any], *, both: bool = False) -> list[str]:
    """Names whose values differ; with `both`, of those that are in both."""
    names = before.keys() & now.keys() if both else before.keys() | now.keys()
    return sorted(name for name in names if before.get(name) != now.get(name))


def _cases(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    groups = (
        ("no longer selected", before.keys() - now.keys()),
        ("new", now.keys() - before.keys()),
        ("of another split, prompt, check or number of samples", {*_changed(before, now, both=True)}),
    )
    for what, names in groups:
        yield from _named(names, what)


def _named(cases: Collection[str], what: str) -> Iterator[str]:
    if cases:
        are = "are" if len(cases) > 1 else "is"
        yield f"{len(cases)} of its cases {are} {what} ({_some(cases)})"


def _some(names: Collection[str]) -> str:
    more = f" and {len(names) - _NAMED} more" * (len(names) > _NAMED)
    return ", ".join(sorted(names)[:_NAMED]) + more


def other_code(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What else has changed, which may or may not matter; empty when nothing has."""
    changed = _changed(before.get("code", now["code"]), now["code"])
    if not changed:
        return ""
    has = "has" if len(changed) == 1 else "have"
    return f"{_some(changed)} {has} changed since the run was begun: cases and hooks may decide otherwise now"
