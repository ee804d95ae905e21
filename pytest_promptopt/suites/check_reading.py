"""From what a file says of the checks of an answer to `Check`."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.grading.rubrics import rubric_of
from pytest_promptopt.models.registry import canonical_name
from pytest_promptopt.settings import NO_MODEL
from pytest_promptopt.suites import other_checks
from pytest_promptopt.suites.check_types import CHECK_TYPES, CheckType
from pytest_promptopt.suites.checks import NEGATION, Check
from pytest_promptopt.suites.json_checks import path_steps
from pytest_promptopt.suites.located import Located
from pytest_promptopt.suites.located_json import read_json
from pytest_promptopt.suites.other_checks import EXPECTED, JUDGE_SEES
from pytest_promptopt.text import did_you_mean, quote, shown_path

#: How other programs call the same.
HINTS = {
    "llm-rubric": "rubric", "judge": "rubric", "equal": "equals", "eq": "equals", "json": "is-json",
    "jsonpath": "json-path", "matches": "regex", "in": "one-of", "is": "equals", "max_words": "max-words",
}  # fmt: skip
#: Options that name inputs, or `expected`, by the type that takes them.
_SHOWN = {"rubric": JUDGE_SEES, "python": ("reference",)}


def read_checks(
    own: Located | None,
    shared: Located | None,
    *,
    expected: Located | None,
    folders: Sequence[Path],
    case: str = "",
    inputs: Iterable[str] = (),
) -> tuple[Check, ...]:
    """The checks of one case. Raises `SettingsError` with ``file:line``.

    A case with `expected` must equal it, unless one of its checks compares with `expected` in another way.

    :param own: those of the case.
    :param shared: those of all cases of the file.
    :param folders: where relative paths begin, the nearest first.
    :param case: ``file:line`` of the case.
    :param inputs: the names of its inputs.
    """
    found = [
        _Reading(each, expected, tuple(folders), case, tuple(inputs)).read()
        for given in (own, shared)
        for each in (() if given is None else _listed(given))
    ]
    checks = [check for check, _ in found]
    if expected is not None and not any(uses for _, uses in found):
        checks.insert(0, Check("equals", expected.value, expected.where()))
    return tuple(checks)


def _listed(given: Located) -> list[Located]:
    if not isinstance(given.value, list):
        raise given.wrong(f"`checks` must be a list, such as `- contains: refund`, got {quote(given.value)}")
    return list(given.items())


def known_type(written: str) -> tuple[str, bool] | None:
    """The type of a check and whether it is negated; None when there is no such type."""
    negated = written.startswith(NEGATION)
    name = written.removeprefix(NEGATION)
    return (name, negated) if name in CHECK_TYPES else None


def unknown_type(given: Located, written: object, *inside: str | int) -> SettingsError:
    """There is no such type: what was meant, or what is accepted."""
    name = str(written).lower().removeprefix(NEGATION)
    near = [HINTS[name]] if name in HINTS else get_close_matches(name, CHECK_TYPES, n=1)
    if near and str(written).lower().startswith(NEGATION):
        near = [NEGATION + near[0]]
    accepted = f"accepted: {', '.join(CHECK_TYPES)}, each also with {NEGATION} in front"
    hint = f"did you mean `{near[0]}`?" if near else accepted
    return given.wrong(f"there is no check {quote(written)}; {hint}", *inside)


@dataclass(frozen=True)
class _Reading:
    """One entry of a list of checks."""

    given: Located
    expected: Located | None
    folders: tuple[Path, ...]
    case: str
    inputs: tuple[str, ...]

    def read(self) -> tuple[Check, bool]:
        """The check, and whether it compares with the case's `expected`."""
        written, options = self._parts()
        name, negated = written
        kind = CHECK_TYPES[name]
        if name == "json-path":
            options = self._with_path(options)
        value = options.get("value")
        uses = value is None and kind.of_expected
        if uses and self.expected is None:
            raise self.given.wrong(
                f"`{name}` has no value, and the case at {self.case} no `expected`: it needs {kind.accepted}"
            )
        value = self.expected.value if uses and self.expected is not None else value
        self._check_options(name, kind, options)
        value = self._value(name, kind, value)
        more = self._more(name, value, options)
        stands = self.expected if uses and self.expected is not None else self.given
        check = Check(name, value, stands.where(), negated, self._threshold(name, kind, options), more)
        uses = uses or any(EXPECTED in more.get(key, ()) for key in JUDGE_SEES)
        return check, uses or (name == "python" and "case.expected" in value)

    def _more(self, name: str, value: Any, options: dict[str, Any]) -> dict[str, Any]:
        """What a type has besides its value and a threshold."""
        if name == "similar":
            return self._embedder(options)
        if name == "json-path":
            null = {"null": True} if "value" in options and value is None else {}
            return {"path": options["path"], **null}
        shown = {key: options[key] for key in JUDGE_SEES if options.get(key) is not None}
        more: dict[str, Any] = {key: self._inputs(key, names) for key, names in shown.items()}
        if name == "python" and (function := other_checks.FUNCTION.fullmatch(value.strip())):
            file, name = self._file(function["file"]), function["function"]
            if problem := other_checks.problem_of_function(file, name):
                raise self.given.wrong(f"`python`: {problem}")
            return {"file": str(file), "function": name, **more}
        return more

    def _embedder(self, options: dict[str, Any]) -> dict[str, Any]:
        """Whose embeddings are compared, where the check says it."""
        model = options.get("model")
        if model is None:
            return {}
        try:
            return {"model": model if model == NO_MODEL else canonical_name(str(model))}
        except SettingsError as error:
            raise self.given.wrong(f"`model`: {error}; `none` compares letters", "model") from None

    def _inputs(self, key: str, given: Any) -> list[str]:
        """The names of inputs that a judge is shown."""
        names = [given] if isinstance(given, str) else given
        if not isinstance(names, list) or not names:
            raise self.given.wrong(f"`{key}` names inputs of the case, got {quote(given)}", key)
        known = [*self.inputs, *([EXPECTED] if self.expected is not None else [])]
        for name in names:
            if name not in known:
                said = f"`{key}` names {quote(name)}, and the case at {self.case} has {', '.join(known)}"
                raise self.given.wrong(said, key)
        return names

    def _parts(self) -> tuple[tuple[str, bool], dict[str, Any]]:
        """The type, and what is given besides."""
        given = self.given
        if isinstance(given.value, str):
            found = known_type(given.value)
            if found is None:
                raise unknown_type(given, given.value)
            return found, {}
        given.mapping("a check")
        if "type" in given.value:
            found = known_type(given.value["type"]) if isinstance(given.value["type"], str) else None
            if found is None:
                raise unknown_type(given, given.value["type"], "type")
            return found, {key: value for key, value in given.value.items() if key != "type"}
        types = [key for key in given.value if known_type(key) is not None]
        if not types:
            others = [key for key in given.value if key not in ("value", "threshold", "path")]
            raise unknown_type(given, others[0] if others else "", *others[:1])
        if len(types) > 1:
            raise given.wrong(
                f"one check has the types {types[0]} and {types[1]}; write each with its own `-`"
            )
        short = types[0]
        options = {key: value for key, value in given.value.items() if key != short}
        key = "path" if short.removeprefix(NEGATION) == "json-path" else "value"
        if key in options:
            raise given.wrong(f"the {key} of `{short}` is given twice", key)
        found = known_type(short)
        assert found is not None
        return found, {**options, key: given.value[short]}

    def _check_options(self, name: str, kind: CheckType, options: dict[str, Any]) -> None:
        known = [
            "value",
            *_SHOWN.get(name, ()),
            *(["threshold"] if kind.threshold else ()),
            *(["path"] if name == "json-path" else ()),
            *(["model"] if name == "similar" else ()),
        ]
        for key in options:
            if key not in known:
                hint = did_you_mean(key, known, otherwise=f"accepted beside it: {', '.join(known)}")
                raise self.given.wrong(f"`{name}` takes no {quote(key)}; {hint}", key)

    def _with_path(self, options: dict[str, Any]) -> dict[str, Any]:
        path = options.get("path")
        if not isinstance(path, str) or not path.strip():
            raise self.given.wrong(f"`json-path` needs a path, such as $.total, got {quote(path)}", "path")
        try:
            path_steps(path)
        except ValueError as error:
            raise self.given.wrong(f"`json-path`: {error}", "path") from None
        return options

    def _threshold(self, name: str, kind: CheckType, options: dict[str, Any]) -> float | None:
        value = options.get("threshold")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.given.wrong(f"`threshold` must be a number, got {quote(value)}", "threshold")
        if "maximum" in (kind.threshold or {}) and not 0 <= value <= 1:
            said = f"`threshold` of `{name}` must be a number from 0 to 1, got {quote(value)}"
            raise self.given.wrong(said, "threshold")
        return float(value)

    def _value(self, name: str, kind: CheckType, value: Any) -> Any:
        if value is None and not kind.bare:
            raise self.given.wrong(f"`{name}` needs {kind.accepted}")
        if name == "is-json" and isinstance(value, str):
            value = self._schema(value)
        if (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and kind.schema.get("type") == "string"
        ):
            value = str(value)  # `contains: 42`
        problem = kind.problem(value)
        if problem is None:
            return self._rubric(value) if name == "rubric" else value
        inside = name if name in self.given.value else "value"
        said = f": {problem}" if problem else f", got {quote(value)}"
        raise self.given.wrong(f"`{name}` needs {kind.accepted}{said}", inside)

    def _rubric(self, criterion: str) -> str:
        """A sentence as it is; the path of a file from rootdir, wherever the test is that uses the case."""
        if not self.folders:
            return criterion
        return rubric_of(criterion, self.folders, where=f"{self.given.where()}: `rubric`").name

    def _schema(self, path: str) -> Any:
        file = self._file(path)
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise self.given.wrong(f"the schema {file} cannot be read: {error}") from None
        return read_json(text, shown_path(file, self.folders[-1]) if self.folders else str(file)).value

    def _file(self, path: str) -> Path:
        places = [folder / path for folder in self.folders] or [Path(path)]
        found = next((place for place in places if os.path.isfile(place)), None)
        if found is None:
            looked = " and ".join(map(str, dict.fromkeys(places)))
            raise self.given.wrong(f"there is no file {quote(path)}; looked for {looked}")
        return found
