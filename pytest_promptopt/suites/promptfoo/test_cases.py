"""The tests of a configuration: listed there, or in YAML, JSON, JSONL and CSV files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.suites.located import Located, Place
from pytest_promptopt.suites.located_json import read_json
from pytest_promptopt.suites.promptfoo.assertions import SUPPORTED, Assertion
from pytest_promptopt.suites.promptfoo.comma_lists import values_in
from pytest_promptopt.suites.promptfoo.config_file import FILE, ConfigFile
from pytest_promptopt.suites.promptfoo.not_supported import NotSupported, shown

#: Keys of a test that make no difference to its verdict here.
_HARMLESS = frozenset(("vars", "assert", "description", "metadata", "options", "threshold"))
#: Those of its `options`.
_HARMLESS_OPTIONS = frozenset(("provider", "disableConversationVar", "runSerially", "repeat"))

_TYPED = re.compile(
    r"(?P<type>(?:not-)?[a-z-]+)(?:\((?P<threshold>\d+(?:\.\d+)?)\))?(?::(?P<value>[\s\S]*))?"
)
_MEASURING = ("cost", "latency", "levenshtein", "similar", "starts-with")
_ALL_TYPES = frozenset(
    (
        *SUPPORTED,
        "agent-rubric", "answer-relevance", "bleu", "classifier", "contains-html", "contains-json",
        "contains-sql", "contains-xml", "context-faithfulness", "context-recall", "context-relevance",
        "conversation-relevance", "factuality", "finish-reason", "g-eval", "gleu", "guardrails", "is-html",
        "is-refusal", "is-sql", "is-valid-function-call", "is-valid-openai-function-call",
        "is-valid-openai-tools-call", "is-xml", "javascript", "levenshtein", "meteor",
        "model-graded-closedqa", "model-graded-factuality", "moderation", "perplexity", "perplexity-score",
        "pi", "rouge-n", "ruby", "search-rubric", "similar", "similar:cosine", "similar:dot",
        "similar:euclidean", "skill-used", "tool-call-f1", "trace-error-spans", "trace-span-count",
        "trace-span-duration", "trajectory:goal-success", "trajectory:step-count",
        "trajectory:tool-args-match", "trajectory:tool-sequence", "trajectory:tool-used", "webhook",
        "word-count",
    )
)  # fmt: skip


@dataclass(frozen=True)
class TestCase:
    """A test, with what the default test says.

    :param problem: why it cannot be run at all.
    :param stores: whether its answer is a variable of the tests after it.
    """

    __test__ = False

    name: str
    variables: Mapping[str, Any]
    asserts: tuple[Assertion, ...]
    where: str
    threshold: float | None = None
    problem: NotSupported | None = None
    stores: bool = False


@dataclass(frozen=True)
class _Shared:
    """What the default test says."""

    variables: Mapping[str, Any]
    asserts: tuple[Assertion, ...]
    threshold: float | None
    problem: NotSupported | None


def tests_of(config: ConfigFile) -> Iterator[TestCase | NotSupported]:
    """In their order; what cannot be read is told at its line."""
    try:
        shared = _default_test(config)
    except NotSupported as problem:
        yield problem
        return
    given, scenarios = config.root.get("tests"), config.root.get("scenarios")
    if given is None and scenarios is None:
        where = config.root.where()
        yield TestCase("", shared.variables, shared.asserts, where, shared.threshold, shared.problem)
        return
    for entry in _listed(given):
        try:
            for test in _entry(config, config.followed(entry)):
                yield test if isinstance(test, NotSupported) else _test(config, test, shared)
        except NotSupported as problem:
            yield problem
    for entry in _listed(scenarios):
        try:
            yield from _scenario(config, config.followed(entry), shared)
        except NotSupported as problem:
            yield problem


def _listed(given: Located | None) -> Iterator[Located]:
    if given is not None:
        yield from given.items() if isinstance(given.value, list) else [given]


def _scenario(config: ConfigFile, given: Located, shared: _Shared) -> Iterator[TestCase | NotSupported]:
    """Each of its tests with each of its sets of data."""
    if not isinstance(given.value, dict) or not isinstance(given.value.get("config"), list):
        raise NotSupported("a scenario must have `config`, a list of tests' data", given.where())
    for key in given.value:
        if key not in ("config", "tests", "description"):
            raise NotSupported(f"`{key}` of a scenario is not supported", given.where(key))
    for data in given.at("config").items():
        found = _test(config, config.followed(data), shared)
        own = _Shared(found.variables, found.asserts, found.threshold, found.problem)
        tests = given.get("tests")
        if tests is None:
            yield found
        for entry in _listed(tests):
            for test in _entry(config, config.followed(entry)):
                if isinstance(test, NotSupported):
                    yield test
                    continue
                merged = _test(config, test, own)
                yield merged if merged.name else replace(merged, name=found.name)


def _default_test(config: ConfigFile) -> _Shared:
    given = config.root.get("defaultTest")
    if given is None:
        return _Shared({}, (), None, None)
    given = config.followed(given)
    if isinstance(given.value, str):
        if not given.value.startswith(FILE):
            raise NotSupported("`defaultTest` must be a mapping or a file://", given.where())
        given = config.data(config.file(given.value, given.where()), given.where())
    if not isinstance(given.value, dict):
        raise NotSupported("`defaultTest` must be a mapping", given.where())
    test = _test(config, given, _Shared({}, (), None, None))
    return _Shared(test.variables, test.asserts, test.threshold, test.problem)


def _entry(config: ConfigFile, given: Located) -> Iterator[Located | NotSupported]:
    """The tests that an entry of `tests` stands for."""
    value = given.value
    if isinstance(value, dict) and "path" in value:
        raise NotSupported("tests that code makes are not supported", given.where())
    if isinstance(value, dict):
        yield given
        return
    if not isinstance(value, str):
        raise NotSupported("a test must be a mapping, or the path of a file", given.where())
    name = value.removeprefix(FILE)
    if "://" in name:
        raise NotSupported(f"{shown(name)}: tests from elsewhere are not supported", given.where())
    if ":" in name or name.endswith((".py", ".js", ".cjs", ".mjs", ".ts")):
        raise NotSupported(f"{shown(name)}: tests that code makes are not supported", given.where())
    paths = config.matching(name)
    if not paths:
        raise NotSupported(f"there is no file {shown(name)}", given.where())
    for path in paths:
        yield from _file(config, path, given.where())


def _file(config: ConfigFile, path: Path, where: str) -> Iterator[Located | NotSupported]:
    ending = path.suffix.lower()
    name = config.name_of(path)
    if ending == ".csv":
        yield from _csv(config.text(path, where), name, where)
        return
    if ending == ".jsonl":
        for number, line in enumerate(config.text(path, where).split("\n"), start=1):
            if line.strip():
                try:
                    yield read_json(line, name, line=number)
                except SettingsError as error:
                    raise NotSupported(str(error), where) from None
        return
    if ending not in (".yaml", ".yml", ".json"):
        raise NotSupported(f"{name}: tests in a {ending or 'nameless'} file are not supported", where)
    found = config.data(path, where)
    for entry in found.items() if isinstance(found.value, list) else [found]:
        if isinstance(entry.value, dict) and "$ref" in entry.value:
            yield NotSupported(f"`$ref` in {name} is not supported", entry.where())
        elif FILE in repr(entry.value):
            yield NotSupported(f"other files named in {name} are not supported", entry.where())
        else:
            yield entry


def _test(config: ConfigFile, given: Located, shared: _Shared) -> TestCase:
    """Raises nothing: what is wrong is in `problem`."""
    value, where = given.value, given.where()
    problem, asserts = shared.problem, shared.asserts
    variables = dict(shared.variables)
    name = str(value.get("description") or "") if isinstance(value, dict) else ""
    threshold = shared.threshold
    try:
        if not isinstance(value, dict):
            raise NotSupported("a test must be a mapping", where)
        config.check_words(given)
        variables |= _variables(config, given)
        _check_options(given)
        if value.get("threshold") is not None:
            threshold = value["threshold"]
        asserts += tuple(_asserts(config, given))
    except NotSupported as found:
        problem = problem or found
    options = value.get("options") if isinstance(value, dict) else None
    stores = isinstance(options, dict) and bool(options.get("storeOutputAs"))
    return TestCase(name, variables, asserts, where, threshold, problem, stores)


def _variables(config: ConfigFile, given: Located) -> dict[str, Any]:
    found = given.get("vars")
    if found is None:
        return {}
    found = config.followed(found)
    if isinstance(found.value, dict):
        return dict(found.value)
    names = found.value if isinstance(found.value, list) else [found.value]
    values: dict[str, Any] = {}
    for name in names:
        if not isinstance(name, str):
            raise NotSupported("`vars` must be a mapping, or paths of files", found.where())
        for path in config.matching(name, config.folder_of(found)):
            located = config.data(path, found.where())
            config.check_words(located)
            if not isinstance(located.value, dict) or FILE in repr(located.value):
                raise NotSupported(
                    f"{config.name_of(path)} must hold a mapping of plain values", found.where()
                )
            values |= located.value
    return values


def _check_options(given: Located) -> None:
    for key in given.value:
        if key not in _HARMLESS:
            raise NotSupported(f"`{key}` of a test is not supported", given.where(key))
    options = given.get("options")
    if options is None:
        return
    if not isinstance(options.value, dict):
        raise NotSupported("`options` of a test must be a mapping", options.where())
    for key, value in options.value.items():
        if key not in _HARMLESS_OPTIONS and value:
            raise NotSupported(f"`{key}` in the `options` of a test is not supported", options.where(key))


def _asserts(config: ConfigFile, given: Located) -> Iterator[Assertion]:
    found = given.get("assert")
    if found is None:
        return
    found = config.followed(found)
    if not isinstance(found.value, list):
        raise NotSupported("`assert` must be a list", found.where())
    for entry in found.items():
        yield Assertion.of(config.followed(entry))


# ----------------------------------------------------------------------------------------------------- CSV


def _csv(text: str, name: str, where: str) -> Iterator[Located | NotSupported]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [column.strip() for column in next(reader, [])]
        line = reader.line_num + 1
        for row in reader:
            if len(row) != len(columns):
                if not row and len(columns) > 1:
                    raise NotSupported(f"{name}:{line}: an empty line is not supported", where)
                raise NotSupported(f"{name}:{line}: it has {len(row)} cells of {len(columns)}", where)
            yield _row(dict(zip(columns, row, strict=True)), name, line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise NotSupported(f"{name}:{reader.line_num}: it is no CSV: {error}", where) from None


def _row(row: Mapping[str, str], name: str, line: int) -> Located | NotSupported:
    where = f"{name}:{line}"
    found: dict[str, Any] = {"vars": {}, "assert": [], "options": {}}
    for column, cell in row.items():
        if column.startswith("__expected"):
            if cell.strip():
                found["assert"].append(assertion_from_text(cell.strip()))
        elif column in ("__prefix", "__suffix"):
            found["options"][column.removeprefix("__")] = cell
        elif column == "__description":
            found["description"] = cell
        elif column == "__providerOutput" and cell:
            return NotSupported("`__providerOutput` is not supported", where)
        elif column == "__threshold":
            if cell.strip():
                return NotSupported("`__threshold` is not supported", where)
        elif column.startswith("__config:"):
            return NotSupported(f"the column `{column}` is not supported", where)
        elif not column.startswith("__metadata") and column not in ("__metric", "__providerOutput"):
            found["vars"][column] = cell
    lines: dict[Place, int] = {(): line}
    return Located(name, found, lines)


def assertion_from_text(text: str) -> dict[str, Any]:
    """What promptfoo makes of a cell of ``__expected``."""
    for prefix in ("javascript:", "fn:", "eval:"):
        if text.startswith(prefix):
            return {"type": "javascript", "value": text.removeprefix(prefix).strip()}
    for prefix in ("grade:", "llm-rubric:"):
        if text.startswith(prefix):
            return {"type": "llm-rubric", "value": text.removeprefix(prefix)}
    if text.startswith("python:"):
        return {"type": "python", "value": text.removeprefix("python:").strip()}
    if text.startswith(FILE) and (text.endswith(".py") or ".py:" in text):
        return {"type": "python", "value": text.removeprefix(FILE).strip()}
    if text.startswith(FILE) and text.endswith((".js", ".cjs", ".mjs", ".ts")):
        return {"type": "javascript", "value": text}
    typed = _TYPED.fullmatch(text)
    kind = typed["type"].removeprefix("not-") if typed else ""
    if typed is None or kind not in _ALL_TYPES:
        return {"type": "equals", "value": text}
    found: dict[str, Any] = {"type": typed["type"]}
    value = typed["value"]
    if value is not None:
        found["value"] = value if kind in ("is-json", "contains-json") else value.strip()
    if kind.endswith(("-all", "-any")) and value:
        found["value"] = _values(value)
    if kind in _MEASURING:
        found["threshold"] = float(typed["threshold"]) if typed["threshold"] else 0.75
    return found


def _values(text: str) -> list[str] | str:
    try:
        return values_in(text)
    except ValueError:
        return text
