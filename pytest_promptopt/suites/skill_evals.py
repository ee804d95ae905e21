"""The cases of an agent skill, ``evals/evals.json``: a judge looks for what each expects.

The skill's text, ``SKILL.md`` in the folder above, is the system message, the prompt of a case the user's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_promptopt.records import Message
from pytest_promptopt.suites.checks import Check
from pytest_promptopt.suites.file_case import FileCase
from pytest_promptopt.suites.located import Located
from pytest_promptopt.suites.located_file import read_document
from pytest_promptopt.suites.suite import SkippedCase, Suite
from pytest_promptopt.text import quote

#: What the file is called.
FILE_NAME = "evals.json"

_SKILL = "SKILL.md"


def read_skill_evals(path: Path, rootdir: Path) -> Suite:
    """Raises `PromptoptError` with ``file:line``."""
    given = read_document(path, rootdir).mapping("the cases of a skill")
    found = given.get("evals")
    if found is None or not isinstance(found.value, list):
        raise given.wrong("it must have `evals`, a list of cases")
    cases: list[FileCase] = []
    skipped: list[SkippedCase] = []
    ids: set[str] = set()
    for number, entry in enumerate(found.items(), start=1):
        case = _case(entry.mapping("a case"), str(entry.value.get("id", number)))
        if case.id in ids:
            raise entry.wrong(f"the id {quote(case.id)} is given twice", "id")
        ids.add(case.id)
        if isinstance(case, FileCase):
            cases.append(case)
        else:
            skipped.append(case)
    return Suite(
        path, (_skill(path, given),), cases=tuple(cases), skipped=tuple(skipped), lines={"prompt": 1}
    )


def _skill(path: Path, given: Located) -> str:
    """The path of the skill's text, relative to that of the cases."""
    for place in ("..", "."):
        if (path.parent / place / _SKILL).is_file():
            return f"{place}/{_SKILL}"
    raise given.wrong(f"there is no {_SKILL} beside it or in the folder above", "skill_name")


def _case(given: Located, id: str) -> FileCase | SkippedCase:
    prompt = _text(given, "prompt")
    if not prompt.strip():
        raise given.wrong("a case must have a `prompt`, a text", "prompt")
    if given.value.get("files"):
        said = "`files` are for an agent that can open them; a model is given texts only"
        return SkippedCase(id, said, given.where("files"))
    checks = tuple(_expectations(given))
    if not checks:
        return SkippedCase(id, "it has neither `expectations` nor an `expected_output`", given.where())
    return FileCase(id, {}, checks=checks, where=given.where(), messages=(Message("user", prompt),))


def _expectations(given: Located) -> Iterator[Check]:
    """A criterion for each expectation; without any, what the output is expected to be."""
    listed = given.value.get("expectations")
    if listed is not None and not isinstance(listed, list):
        raise given.wrong("`expectations` must be a list of texts", "expectations")
    for number, each in enumerate(listed or []):
        if not isinstance(each, str) or not each.strip():
            raise given.wrong("an expectation must be a text", "expectations", number)
        yield Check("rubric", each.strip(), given.where("expectations", number))
    expected = _text(given, "expected_output")
    if not listed and expected.strip():
        yield Check(
            "rubric", f"The answer is as expected: {expected.strip()}", given.where("expected_output")
        )


def _text(given: Located, key: str) -> str:
    value: Any = given.value.get(key, "")
    if not isinstance(value, str):
        raise given.wrong(f"`{key}` must be a text, got {quote(value)}", key)
    return value
