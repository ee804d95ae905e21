"""Cases that other programs keep, as pytest collects them: configurations of promptfoo, evals of skills."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.pytest_engine import internals
from pytest_promptopt.pytest_engine.case_files import CaseFile, CaseItem, test_functions
from pytest_promptopt.suites.promptfoo.reading import read_promptfoo
from pytest_promptopt.suites.skill_evals import FILE_NAME, read_skill_evals
from pytest_promptopt.suites.suite import Suite

#: A key that begins a configuration of promptfoo, at the top of YAML or JSON.
_CONFIGURES = re.compile(
    r"""^(?:prompts|providers|targets|defaultTest|redteam)\s*:|"(?:prompts|providers)"\s*:""", re.MULTILINE
)


def foreign_file(
    path: Path, parent: pytest.Collector, *, embedding_model: str | None
) -> pytest.Collector | None:
    """The collector of a file that another program keeps; None for one that is none of those we know."""
    if path.name == FILE_NAME:
        return SkillEvals.from_parent(parent, path=path)
    if "promptfooconfig" not in path.name and not _CONFIGURES.search(_beginning(path)):
        return None
    return PromptfooFile.from_parent(parent, path=path, embedding_model=embedding_model)


def _beginning(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:100_000]
    except OSError:
        return ""


class PromptfooFile(CaseFile):
    """A configuration of promptfoo: a test function for each provider and prompt."""

    def __init__(self, embedding_model: str | None, **given: Any) -> None:
        """:param embedding_model: compares texts by their embeddings; None where there is none."""
        super().__init__(**given)
        self._embedding_model = embedding_model

    def collect(self) -> Iterator[pytest.Item]:
        """Raises `CollectError` with the ``file:line`` of a mistake."""
        try:
            found = read_promptfoo(self.path, self.config.rootpath, embedding_model=self._embedding_model)
        except PromptoptError as error:
            raise self.CollectError(str(error)) from None
        self.session._fixturemanager.parsefactories(self)
        for each in found:
            for name, function in test_functions(each.suite):
                called = each.name if name != "skipped" or not each.suite.prompts else f"{each.name}-skipped"
                yield from internals.cases_of_function(self, called, function, CaseItem)


class SkillEvals(CaseFile):
    """The cases of an agent skill."""

    def read(self) -> Suite:
        return read_skill_evals(self.path, self.config.rootpath)
