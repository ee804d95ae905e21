"""promptfoo's assertions as checks: only those that hold for the same answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_promptopt.prompts.template_languages.javascript_values import NotTheSame, is_number, text_of
from pytest_promptopt.prompts.template_languages.nunjucks_filters import WHITESPACE
from pytest_promptopt.suites.check_types import CHECK_TYPES
from pytest_promptopt.suites.checks import NEGATION, Check
from pytest_promptopt.suites.located import Located
from pytest_promptopt.suites.promptfoo.comma_lists import values_in
from pytest_promptopt.suites.promptfoo.config_file import FILE, ConfigFile
from pytest_promptopt.suites.promptfoo.json_schemas import schema_as_in_ajv
from pytest_promptopt.suites.promptfoo.not_supported import NotSupported, shown
from pytest_promptopt.suites.promptfoo.own_checks import (
    ALIKE,
    ASSERTION_FUNCTION,
    MATCHES,
    SCRIPT,
    inline_function,
)
from pytest_promptopt.suites.promptfoo.regular_expressions import NotAlike, compiled
from pytest_promptopt.suites.promptfoo.variables import Variables, rendered

#: Why a type is not supported, where more can be said than that.
_REASONS = {
    "javascript": "JavaScript is not run",
    "similar:dot": "of embeddings only the cosine is compared",
    "similar:euclidean": "of embeddings only the cosine is compared",
}
_NO_EMBEDDINGS = (
    "it compares embeddings in promptfoo, and runs with a model that makes them: "
    "--promptopt-embedding-model=PROVIDER/MODEL (ini promptopt_embedding_model)"
)

#: The least cosine of an assertion that names none.
_SIMILAR = 0.75

#: Keys of an assertion that make no difference to whether it holds.
_HARMLESS = frozenset(("type", "value", "threshold", "metric", "weight", "description", "provider", "config"))


@dataclass(frozen=True)
class Assertion:
    """An assertion as the configuration has it.

    :param type: with ``not-``.
    :param given: its other keys.
    """

    type: str
    given: Mapping[str, Any]
    where: str

    @classmethod
    def of(cls, given: Located) -> Assertion:
        """Raises `NotSupported`."""
        value = given.value
        if not isinstance(value, dict) or not isinstance(value.get("type"), str):
            raise NotSupported("an assertion must have a `type`", given.where())
        return cls(value["type"], value, given.where())

    @property
    def value(self) -> Any:
        return self.given.get("value")

    @property
    def threshold(self) -> float | None:
        number = self.given.get("threshold")
        if number is not None and not is_number(number):
            raise NotSupported(f"`threshold` must be a number, got {shown(number)}", self.where)
        return number

    @property
    def counts(self) -> bool:
        """Whether the case depends on it: without weight it is a figure only."""
        return bool(self.given.get("weight", 1) != 0)


def check_of(config: ConfigFile, assertion: Assertion, variables: Variables, *, prompt: str) -> Check:
    """The check of an assertion for these values. Raises `NotSupported`.

    :param prompt: as it is asked with them.
    """
    negated = assertion.type.startswith(NEGATION)
    kind = assertion.type.removeprefix(NEGATION)
    maker = _MAKERS.get(kind)
    if maker is None:
        why = f": {_REASONS[kind]}" if kind in _REASONS else ""
        raise NotSupported(f"the assertion `{assertion.type}` is not supported{why}", assertion.where)
    for key in assertion.given:
        if key not in _HARMLESS:
            raise NotSupported(f"`{key}` of an assertion is not supported", assertion.where)
    value = _value(config, assertion, variables)
    return maker(_Making(config, assertion, kind, negated, value, variables, prompt))


def _value(config: ConfigFile, assertion: Assertion, variables: Variables) -> Any:
    """The value filled in, as promptfoo does it: in texts, and in the texts of a list."""
    value = assertion.value
    if isinstance(value, str):
        if value.startswith("package:"):
            raise NotSupported("an assertion of a package is not supported", assertion.where)
        if value.startswith(FILE):
            return value if _names_code(value) else _of_file(config, value, assertion.where)
        return rendered(value, variables, assertion.where)
    if isinstance(value, list):
        return [
            (
                _of_file(config, each, assertion.where)
                if each.startswith(FILE)
                else rendered(each, variables, assertion.where)
            )
            if isinstance(each, str)
            else each
            for each in value
        ]
    return value


def _names_code(value: str) -> bool:
    path = value.removeprefix(FILE)
    return any(part.endswith((".py", ".js", ".cjs", ".mjs", ".ts", ".rb")) for part in path.split(":")[:2])


def _of_file(config: ConfigFile, value: str, where: str) -> Any:
    path = config.file(value, where)
    if path.suffix in (".json", ".yaml", ".yml"):
        located = config.data(path, where)
        config.check_words(located)
        return located.value
    if path.suffix != ".txt":
        raise NotSupported(
            f"{path.name}: a value from a {path.suffix or 'nameless'} file is not supported", where
        )
    return config.text(path, where).strip(WHITESPACE)


@dataclass(frozen=True)
class _Making:
    """What a check is made of."""

    config: ConfigFile
    assertion: Assertion
    kind: str
    negated: bool
    value: Any
    variables: Variables
    prompt: str

    def check(self, type: str, value: Any, *, threshold: float | None = None, **options: Any) -> Check:
        return Check(type, value, self.assertion.where, self.negated, threshold, options)

    def wrong(self, reason: str) -> NotSupported:
        return NotSupported(f"`{self.assertion.type}`: {reason}", self.assertion.where)

    def text(self, value: Any) -> str:
        try:
            return text_of(value)
        except NotTheSame as error:
            raise self.wrong(str(error)) from None

    def no_code(self) -> None:
        if isinstance(self.value, str) and self.value.startswith(FILE):
            raise self.wrong("a value that code makes is not supported")


def _equals(making: _Making) -> Check:
    making.no_code()
    if "value" not in making.assertion.given:
        raise making.wrong("it has no value")
    if isinstance(making.value, list | dict) or making.value is None:
        return making.check("equals", making.value)
    return making.check("equals", making.text(making.value), exact=True)


def _contains(making: _Making) -> Check:
    making.no_code()
    if not (isinstance(making.value, str) and making.value) and not is_number(making.value):
        raise making.wrong("promptfoo accepts a text or a number that is not empty")
    return making.check(making.kind, making.text(making.value))


def _contains_several(making: _Making) -> Check:
    making.no_code()
    values = making.value
    if isinstance(values, str) and values:
        try:
            values = values_in(values)
        except ValueError as error:
            raise making.wrong(str(error)) from None
    if not isinstance(values, list):
        raise making.wrong("promptfoo accepts a list, or a text with commas")
    return making.check(making.kind, [making.text(each) for each in values])


def _starts_with(making: _Making) -> Check:
    making.no_code()
    if not isinstance(making.value, str) or not making.value:
        raise making.wrong("promptfoo accepts a text that is not empty")
    return making.check("starts-with", making.value)


def _regex(making: _Making) -> Check:
    making.no_code()
    if not isinstance(making.value, str) or not making.value:
        raise making.wrong("promptfoo accepts a text that is not empty")
    try:
        compiled(making.value)
    except NotAlike as error:
        raise making.wrong(f"{shown(making.value)}: {error}") from None
    return making.check(MATCHES, making.value)


def _is_json(making: _Making) -> Check:
    making.no_code()
    schema = making.value
    if schema is None or schema == "":
        return making.check("is-json", None)
    if isinstance(schema, str):
        from pytest_promptopt.errors import SettingsError
        from pytest_promptopt.suites.located_yaml import read_yaml

        try:
            schema = read_yaml(schema, "the schema").value
        except SettingsError as error:
            raise making.wrong(str(error)) from None
    if not isinstance(schema, dict):
        raise making.wrong("a JSON Schema must be a mapping")
    problem = CHECK_TYPES["is-json"].problem(schema)
    if problem is not None:
        raise making.wrong(problem or "it is no JSON Schema")
    try:
        return making.check("is-json", schema_as_in_ajv(schema))
    except NotAlike as error:
        raise making.wrong(str(error)) from None


def _measured(making: _Making) -> Check:
    threshold = making.assertion.threshold
    if not threshold:
        raise making.wrong("it has no threshold")
    return making.check(making.kind, threshold / 1000 if making.kind == "latency" else threshold)


def _python(making: _Making) -> Check:
    threshold, value = making.assertion.threshold, making.value
    if not isinstance(value, str):
        raise making.wrong("the code must be a text")
    given = {
        "vars": dict(making.variables),
        "prompt": making.prompt,
        "test": {"vars": dict(making.variables)},
    }
    if config := making.assertion.given.get("config"):
        given["config"] = config
    if not value.startswith(FILE):
        try:
            inline_function(value)
        except (SyntaxError, ValueError, RecursionError) as error:
            raise making.wrong(f"the code cannot be read: {error}") from None
        return making.check(SCRIPT, value, threshold=threshold, **given)
    name, _, function = value.removeprefix(FILE).partition(":")
    if not name.endswith(".py"):
        raise making.wrong(f"{shown(name)} is no Python file")
    path = making.config.file(name, making.assertion.where)
    function = function or ASSERTION_FUNCTION
    return making.check(SCRIPT, value, threshold=threshold, file=str(path), function=function, **given)


def _rubric(making: _Making) -> Check:
    if not isinstance(making.value, str) or not making.value.strip():
        raise making.wrong("the criterion must be a text")
    making.no_code()
    return making.check("rubric", making.value, threshold=making.assertion.threshold)


def _similar(making: _Making) -> Check:
    model = making.config.embedding_model
    if model is None:
        said = f"the assertion `{making.assertion.type}` is not supported: {_NO_EMBEDDINGS}"
        raise NotSupported(said, making.assertion.where)
    making.no_code()
    texts = making.value if isinstance(making.value, list) else [making.value]
    if not texts or not all(isinstance(each, str) and each for each in texts):
        raise making.wrong("promptfoo accepts a text that is not empty, or a list of such texts")
    threshold = making.assertion.threshold
    least = _SIMILAR if threshold is None else threshold
    if isinstance(making.value, list):
        return making.check(ALIKE, texts, threshold=least, model=model)
    return making.check("similar", making.value, threshold=least, model=model)


_MAKERS: Mapping[str, Callable[[_Making], Check]] = {
    "equals": _equals,
    "contains": _contains,
    "icontains": _contains,
    "contains-all": _contains_several,
    "contains-any": _contains_several,
    "icontains-all": _contains_several,
    "icontains-any": _contains_several,
    "starts-with": _starts_with,
    "regex": _regex,
    "is-json": _is_json,
    "latency": _measured,
    "cost": _measured,
    "python": _python,
    "llm-rubric": _rubric,
    "similar": _similar,
    "similar:cosine": _similar,
}

#: All types that are supported, as promptfoo calls them.
SUPPORTED = tuple(_MAKERS)
