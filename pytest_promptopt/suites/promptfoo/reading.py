"""A configuration of promptfoo as suites: one for each provider and prompt."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import PromptFileError, PromptoptError
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.renderable_prose import RESERVED
from pytest_promptopt.prompts.sources.address import Address
from pytest_promptopt.prompts.template_languages import NUNJUCKS
from pytest_promptopt.suites.file_case import FileCase
from pytest_promptopt.suites.promptfoo.assertions import check_of
from pytest_promptopt.suites.promptfoo.config_file import ConfigFile
from pytest_promptopt.suites.promptfoo.not_supported import NotSupported
from pytest_promptopt.suites.promptfoo.prompt_texts import PromptText, prompts_of
from pytest_promptopt.suites.promptfoo.providers import Provider, providers_of
from pytest_promptopt.suites.promptfoo.test_cases import TestCase, tests_of
from pytest_promptopt.suites.promptfoo.variables import Variables, combinations, filled, resolved, said_of
from pytest_promptopt.suites.suite import SkippedCase, Suite
from pytest_promptopt.text import unused_name

#: Characters of a description in the id of a case.
MAX_NAME = 40

_NO_WORD = re.compile(r"[^A-Za-z0-9]+")

#: Parts of a configuration that make other cases, or other verdicts, than its tests say.
_NOT_FOLLOWED = {
    "redteam": "`redteam` makes cases by a model; only the tests that are written here run",
    "extensions": "`extensions` are code that may change every case",
    "nunjucksFilters": "`nunjucksFilters` are JavaScript",
}
_REFUSING = ("extensions", "nunjucksFilters")


@dataclass(frozen=True)
class ReadSuite:
    """A suite of a configuration, and which cells of promptfoo's table its cases are.

    :param name: what its tests are called.
    :param provider: its number among the providers that can be asked.
    """

    name: str
    suite: Suite
    provider: int
    prompt: int


def read_promptfoo(path: Path, rootdir: Path, *, embedding_model: str | None = None) -> tuple[ReadSuite, ...]:
    """Raises `PromptoptError` with ``file:line`` for a file that cannot be read at all.

    :param embedding_model: for assertions that compare embeddings; without one they are not supported.
    """
    return tuple(_Reading(ConfigFile.read(path, rootdir, embedding_model)).suites())


class _Reading:
    def __init__(self, config: ConfigFile) -> None:
        self._config = config
        self._skipped: list[SkippedCase] = []

    def suites(self) -> Iterator[ReadSuite]:
        """One for each provider and prompt, and one that tells what else is not supported."""
        root = self._config.root
        for key, reason in _NOT_FOLLOWED.items():
            if root.value.get(key):
                self._skip(key, NotSupported(reason, root.where(key)))
        if not any(root.value.get(key) for key in _REFUSING):
            yield from self._crossed()
        if self._skipped:
            yield ReadSuite("skipped", Suite(self._config.path, (), skipped=tuple(self._skipped)), -1, -1)

    def _skip(self, name: str, problem: NotSupported) -> None:
        self._skipped.append(SkippedCase(name, problem.reason, problem.where))

    def _usable(self, kind: str, found: Sequence[Any]) -> list[tuple[int, Any]]:
        """Those that can be used, with their numbers from 0; the others are told."""
        usable = []
        for number, each in enumerate(found):
            if isinstance(each, NotSupported):
                self._skip(f"{kind}-{number + 1}", each)
            else:
                usable.append((number, each))
        return usable

    def _crossed(self) -> Iterator[ReadSuite]:
        providers: list[tuple[int, Provider]] = self._usable("provider", list(providers_of(self._config)))
        prompts: list[tuple[int, PromptText]] = self._usable("prompt", list(prompts_of(self._config)))
        tests: list[tuple[int, TestCase]] = self._usable("test", _tests(self._config))
        repeat = self._repeat()
        names: list[str] = []
        for at, provider in providers:
            for place, prompt in prompts:
                if not provider.takes(prompt.label):
                    continue
                name = f"prompt{place + 1}" + (f"-{_word(provider.name)}" if len(providers) > 1 else "")
                name = unused_name(name, names)  # one model may stand there twice, with other settings
                names.append(name)
                try:
                    usable = prompt.for_provider(echoes=provider.echoes)
                    suite = self._suite(provider, usable, tests, repeat)
                except NotSupported as problem:
                    self._skip(name, problem)
                    continue
                yield ReadSuite(name, suite, at, place)

    def _repeat(self) -> int | None:
        options = self._config.root.get("evaluateOptions")
        repeat = options.value.get("repeat") if options and isinstance(options.value, dict) else None
        return repeat if isinstance(repeat, int) and repeat > 1 else None

    def _suite(
        self,
        provider: Provider,
        prompt: PromptText,
        tests: Sequence[tuple[int, TestCase]],
        repeat: int | None,
    ) -> Suite:
        file = _prompt_file(self._config, prompt)
        cases: list[FileCase] = []
        skipped: list[SkippedCase] = []
        for number, test in tests:
            name = "-".join(filter(None, (str(number + 1), _word(test.name))))
            try:
                made = list(self._cases(prompt, file, test, name))
            except NotSupported as problem:
                skipped.append(SkippedCase(name, problem.reason, problem.where))
                continue
            cases += [each for each in made if isinstance(each, FileCase)]
            skipped += [each for each in made if isinstance(each, SkippedCase)]
        parameters = dict(provider.parameters) | ({"freeze": True} if prompt.frozen else {})
        return Suite(
            self._config.path,
            (prompt.address,),
            model=provider.model,
            samples=repeat,
            parameters=parameters,
            cases=tuple(cases),
            skipped=tuple(skipped),
            template=NUNJUCKS.name,
        )

    def _cases(
        self, prompt: PromptText, file: PromptFile, test: TestCase, name: str
    ) -> Iterator[FileCase | SkippedCase]:
        if test.problem is not None:
            raise test.problem
        found = list(combinations(self._config, test.variables, test.where))
        for number, given in enumerate(found, start=1):
            id = f"{name}.{number}" if len(found) > 1 else name
            try:
                yield self._case(prompt, file, test, given, id)
            except NotSupported as problem:
                yield SkippedCase(id, problem.reason, problem.where)

    def _case(
        self, prompt: PromptText, file: PromptFile, test: TestCase, given: Variables, id: str
    ) -> FileCase:
        variables = resolved(self._config, given, test.where)
        inputs = variables if prompt.is_json else filled(variables, name=file.name, where=test.where)
        used = {name: value for name, value in inputs.items() if name in file.variables}
        try:
            turns = file.render(used)
        except PromptFileError as error:
            raise NotSupported(f"the prompt: {said_of(error)}", test.where) from None
        if not all(turn.content.strip() for turn in turns):
            raise NotSupported("the prompt is empty with these values", test.where)
        asked = "".join(turn.content for turn in turns)
        counting = [each for each in test.asserts if each.counts]
        checks = tuple(check_of(self._config, each, variables, prompt=asked) for each in counting)
        if test.threshold is not None:
            raise NotSupported("`threshold` of a test is not supported", test.where)
        return FileCase(id, used, checks=checks, where=test.where)


def _tests(config: ConfigFile) -> list[TestCase | NotSupported]:
    found = list(tests_of(config))
    storing = next((each for each in found if isinstance(each, TestCase) and each.stores), None)
    if storing is None:
        return found
    said = "`storeOutputAs` makes the answers of one test variables of the others"
    problem = NotSupported(said, storing.where)
    return [replace(each, problem=problem) if isinstance(each, TestCase) else each for each in found]


def _prompt_file(config: ConfigFile, prompt: PromptText) -> PromptFile:
    """The prompt as our sources read it, if they come to promptfoo's text. Raises `NotSupported`."""
    try:
        address = Address.parse(prompt.address).below(config.folder)
        file = PromptFile.load(address, rootdir=config.rootdir, language=NUNJUCKS)
    except PromptoptError as error:
        said = said_of(error) if isinstance(error, PromptFileError) else str(error)
        raise NotSupported(f"the prompt: {said}", prompt.where) from None
    if not prompt.document and "".join(turn.source for turn in file.turns) != prompt.text:
        raise NotSupported("the prompt's text cannot be read here as promptfoo reads it", prompt.where)
    for name in RESERVED:
        if name in file.variables:
            raise NotSupported(f"a variable cannot be called `{name}` here", prompt.where)
    if "_conversation" in prompt.text:
        raise NotSupported("`_conversation` is not supported", prompt.where)
    return file


def _word(text: str) -> str:
    """A text as a part of an id."""
    return _NO_WORD.sub("-", text).strip("-")[:MAX_NAME].strip("-")
