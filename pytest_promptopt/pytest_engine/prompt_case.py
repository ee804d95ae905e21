"""A prompt case: an item with its mark, its prompt files and the requests that its calls become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.assertions.function_source import TestSource, source_of
from pytest_promptopt.assertions.judge_criteria import JUDGE
from pytest_promptopt.assertions.plain_values import parameter_text
from pytest_promptopt.errors import NoModelError
from pytest_promptopt.models.registry import canonical_name
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.pytest_engine import internals
from pytest_promptopt.pytest_engine.case_identity import MODEL_PARAMETER, identity
from pytest_promptopt.pytest_engine.mark import Mark
from pytest_promptopt.records import Case, Message, Request, Role
from pytest_promptopt.replay.case_requests import APPLICATION, parameter_lines, request_of
from pytest_promptopt.suites.file_case import FileCase


@dataclass(frozen=True, eq=False)
class PromptCase:
    """An item with everything that its runs need."""

    item: pytest.Item
    case: Case
    files: Mapping[str, PromptFile]
    mark: Mark
    #: Of the settings; marks and prompt files may name others.
    model: str | None
    #: Whether requests that its code makes by itself are handled.
    intercepts: bool = False
    #: The name of the judge's prompt when it is among its prompts; empty otherwise.
    judge_prompt: str = ""
    #: Whether that judges answers of other cases, too.
    judges_others: bool = False
    #: Which of the items that repeat one case this is, and how many there are.
    repetition: int = 0
    repetitions: int = 1

    @property
    def samples(self) -> range:
        """The samples that its item runs: all of the case, unless several items repeat one."""
        each = self.case.samples // self.repetitions
        return range(self.repetition * each, (self.repetition + 1) * each)

    @property
    def judges(self) -> bool:
        """Whether it checks the judge itself: its prompt is that of the judge, and it has no other."""
        return self.case.prompts == (self.judge_prompt,)

    @property
    def may_wait(self) -> bool:
        """Whether it may ask something whose answer it waits for: then it can be run ahead of its turn."""
        return self.replays and (self.asks or self.intercepts or JUDGE in self.fixtures)

    @property
    def replays(self) -> bool:
        """Whether the case may be run again from the top to find its answers."""
        return self.mark.replay

    def model_of(self, file: PromptFile) -> str:
        """The model that answers `file`: the mark decides over the front matter, that over the settings.

        `APPLICATION` where none is named and the code under test makes its calls itself. Raises
        `SettingsError` when none is named and the fixture asks.
        """
        model = self.mark.model or file.front.model or self.model
        if model is None and self.intercepts and not self.asks:
            return APPLICATION
        if model is None:
            raise NoModelError(
                f"{file.name}: no model to ask; set --promptopt-model=PROVIDER/MODEL (ini promptopt_model), "
                "model= in @pytest.mark.prompt or `model:` in the front matter; `demo` needs no key"
            )
        return canonical_name(model)

    @property
    def asks(self) -> bool:
        """Whether its test asks its prompt by one of our fixtures; if not, nothing could wait for its answer.

        A judge asks its own prompt, where that is what the test checks.
        """
        asking = {"prompt", "prompts", JUDGE} if self.judges else {"prompt", "prompts"}
        return not asking.isdisjoint(self.fixtures)

    def is_decided_by(self, role: Role | None) -> bool:
        """Whether it has no verdict where the judge's model, or the one for embeddings, gives no answer."""
        if role is Role.EMBEDDING:
            return any(case.is_compared for case in self.file_cases)
        return role is Role.JUDGE and JUDGE in self.fixtures

    @property
    def fixtures(self) -> Sequence[str]:
        """The names of all fixtures of its test."""
        names: Sequence[str] = getattr(self.item, "fixturenames", ())
        return names

    @property
    def waiting_hint(self) -> str:
        """How the user has it wait for each answer instead of being run again."""
        return ", or use @pytest.mark.prompt(..., replay=False), which makes the case wait for each answer"

    @cached_property
    def given(self) -> Mapping[str, Any]:
        """The values that the test is parametrized with."""
        callspec = getattr(self.item, "callspec", None)
        given = {} if callspec is None else callspec.params
        return {name: value for name, value in given.items() if name != MODEL_PARAMETER}

    @cached_property
    def file_cases(self) -> Sequence[FileCase]:
        """Those of them that are cases of files."""
        return [value for value in self.given.values() if type(value) is FileCase]

    @cached_property
    def values(self) -> Mapping[str, Any]:
        """What it is about: the values that are given; in place of a case of a file, what that says."""
        found = {name: value for name, value in self.given.items() if type(value) is not FileCase}
        for case in self.file_cases:
            found |= case.identity
        return found

    @cached_property
    def parameters(self) -> Mapping[str, str]:
        """`values` as short texts."""
        return {name: parameter_text(value) for name, value in self.values.items()}

    @cached_property
    def source(self) -> TestSource:
        """The test function as it is written."""
        source = source_of(getattr(self.item, "function", None), frozenset(self.given))
        in_file = next((case.source for case in self.file_cases), "")
        return source if source.check else replace(source, check=in_file)

    @cached_property
    def expected(self) -> Any | None:
        """What the test compares the answer with, by its source and its parameters; None if not known."""
        if self.case.labelled:
            return self.case.labelled
        stated = self.source.known_expected(self.given)
        return next((case.answer for case in self.file_cases), None) if stated is None else stated

    def request(
        self,
        file: PromptFile,
        messages: Sequence[Message],
        response_schema: object,
        *,
        sample: int,
    ) -> Request:
        """The request of one call; parameters of the mark win over those of the front matter."""
        return request_of(
            file,
            messages,
            response_schema,
            model=self.model_of(file),
            parameters=self.mark.parameters,
            sample=sample,
        )

    def bare_request(self, file: PromptFile) -> Request:
        """A request of its calls without messages: whom it asks, and with which parameters."""
        return self.request(file, (), None, sample=0)

    @property
    def frozen(self) -> frozenset[str]:
        """The names of its prompt files that are never rewritten."""
        # The one prompt of a mark without stages may be a whole program of DSPy.
        frozen = {file.name for stage, file in self.files.items() if {stage, ""} & self.mark.freeze}
        # A judge that could be rewritten to like the answers of the other stages would be.
        if self.judge_prompt and (self.judges_others or not self.judges):
            frozen.add(self.judge_prompt)
        return frozenset(frozen)

    @property
    def path(self) -> Path:
        """The file of its test."""
        return self.item.path

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the path of a file that goes along with a prompt may begin."""
        return (self.item.path.parent, self.item.config.rootpath)

    @property
    def identity(self) -> str:
        """What makes it this case: its prompts and its parameter values, or its name when it has none."""
        return identity(self.item, self.case.prompts)

    def parameter_lines(self, file: PromptFile) -> dict[str, str]:
        """Where each parameter of a call is set: ``file:line`` of the front matter, or of the test."""
        return parameter_lines(file) | dict.fromkeys(self.mark.parameters, self.case.where)

    def temporary(self) -> Path:
        """A folder for copies of candidates, gone with pytest's other temporary folders."""
        return internals.temporary_root(self.item.config)
