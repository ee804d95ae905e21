"""What is told of cases that do not use their prompts, whoever has run them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from pytest_promptopt.pytest_engine.prompt_use import PromptUse


def run(case: str, **told: Any) -> Any:
    """A run as far as `note` looks at it: of an application, with nothing asked."""
    state = {"asked": [], "asked_otherwise": [], "touched": False, "not_recognised": "", "error": None}
    prompt_case = SimpleNamespace(case=SimpleNamespace(id=case), asks=False, intercepts=True)
    return SimpleNamespace(case=prompt_case, **(state | told))


def seen(*runs: Any) -> PromptUse:
    use = PromptUse()
    for each in runs:
        use.note(each)
    return use


OTHER: Mapping[str, Any] = {"asked_otherwise": [("m", {})], "not_recognised": "it holds no passage"}


def test_what_several_processes_have_seen_is_told_once() -> None:
    both = PromptUse()
    for told in (seen(run("a", **OTHER), run("b", **OTHER)), seen(run("b", **OTHER), run("c", **OTHER))):
        both.add(json.loads(json.dumps(told.to_json())))
    assert list(both.sentences()) == [
        "3 cases made model calls that are no calls of their prompt (a): it holds no passage"
    ]
    assert both.without_prompt == {"a", "b", "c"}


def test_a_case_that_uses_its_prompt_anywhere_is_not_told_of() -> None:
    use = seen(run("a", **OTHER), run("b"))
    use.add(seen(run("a", asked=[("p.md", {})]), run("b", asked=[("p.md", {})])).to_json())
    assert list(use.sentences()) == []
    assert not use.without_prompt
    assert use.why_unrecognised == ""


def test_a_case_whose_other_calls_were_seen_later_is_told_of_once() -> None:
    use = seen(run("a"), run("a", **OTHER))
    assert [sentence.partition(" made ")[0] for sentence in use.sentences()] == ["1 case"]
