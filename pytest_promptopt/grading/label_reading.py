"""Reading labels: files with a JSON object on each line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.grading.rubrics import rubric_of
from pytest_promptopt.labels import AnyLabel, Label, PairLabel
from pytest_promptopt.records import Split
from pytest_promptopt.text import did_you_mean, quote

_SHARED = ("criterion", "reference", "context", "split", "id")
_SINGLE = ("answer", "good", *_SHARED)
_PAIR = ("a", "b", "better", *_SHARED)

#: What a line looks like, for messages.
_FORMS = '{"answer": "...", "good": true} or {"a": "...", "b": "...", "better": "a"}'


def read_labels(
    path: Path | str, *, criterion: str = "", folders: Sequence[Path] = ()
) -> tuple[AnyLabel, ...]:
    """The labels of a file, in its order; empty lines are skipped.

    :param criterion: for the lines that name none.
    :param folders: where the path of a rubric file may begin, the nearest first; the last is rootdir, from
        which labels name it in the end.
    :raises SettingsError: with ``file:line``, what is there and what is accepted.
    """
    labels = []
    first_lines: dict[str, AnyLabel] = {}
    for where, data in _lines(Path(path)):
        label = _Line(where, data).label(criterion, folders)
        _refuse_repeated(label, first_lines)
        labels.append(label)
    if not labels:
        raise SettingsError(f"{path}: there are no labels in it; write {_FORMS} on each line")
    return tuple(labels)


def fingerprint_of(labels: Iterable[AnyLabel]) -> str:
    """sha256 of what these labels say: the order, line ends and spacing of their file make no difference."""
    contents = sorted(_content(label, with_verdict=True) for label in labels)
    return sha256("\n".join(contents).encode()).hexdigest()


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """``file:line`` and what stands there."""
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SettingsError(f"{path}: the labels cannot be read: {reason}") from error
    # Only line feeds end a line: JSON strings may hold other separators.
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            yield f"{path}:{number}", line


def _refuse_repeated(label: AnyLabel, first_lines: dict[str, AnyLabel]) -> None:
    """A label that is counted twice makes a judge look better tested than it is."""
    content = _content(label, with_verdict=False)
    if (other := first_lines.get(content)) is not None:
        same = _verdict(label) == _verdict(other)
        what = "the same label as" if same else "the same answer with another label than"
        raise SettingsError(f"{label.where}: it is {what} {other.where}; keep one of them")
    if (other := first_lines.get(f"id {label.id}")) is not None:
        raise SettingsError(f"{label.where}: the id {quote(label.id)} is that of {other.where} as well")
    first_lines[content] = first_lines[f"id {label.id}"] = label


def _verdict(label: AnyLabel) -> bool | str:
    """What the person says; of a pair the better answer itself, which stays if the two are swapped."""
    return label.good if isinstance(label, Label) else label.a if label.better == "a" else label.b


def _content(label: AnyLabel, *, with_verdict: bool) -> str:
    """What is graded, as JSON, and with it what the person says; a swapped pair is the same question."""
    answers = [label.answer] if isinstance(label, Label) else sorted((label.a, label.b))
    parts: list[Any] = [answers, label.criterion, label.reference, label.context]
    if with_verdict:
        parts += [_verdict(label), label.split]
    return json.dumps(parts)


class _Line:
    """One line of a file of labels, read key by key."""

    def __init__(self, where: str, content: bytes) -> None:
        self.where = where
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._wrong(f"it is not UTF-8 (byte {error.start + 1} of the line)") from error
        try:
            data = json.loads(text, object_pairs_hook=self._object)
        except json.JSONDecodeError as error:
            raise self._wrong(
                f"it is not JSON: {error.msg} at column {error.colno}; write {_FORMS}"
            ) from error
        except (ValueError, RecursionError) as error:
            raise self._wrong(f"it cannot be read as JSON ({error}); write {_FORMS}") from error
        if not isinstance(data, dict):
            raise self._wrong(f"it is {quote(data)}, not a JSON object; write {_FORMS}")
        self.data: dict[str, Any] = data

    def label(self, criterion: str, folders: Sequence[Path]) -> AnyLabel:
        is_pair = bool({"a", "b", "better"} & self.data.keys())
        self._check_keys(_PAIR if is_pair else _SINGLE)
        graded_for = self._text("criterion") or criterion
        if not graded_for.strip():
            raise self._wrong("it names no criterion, and neither does the test; add a key `criterion`")
        if folders:
            graded_for = rubric_of(graded_for, folders, where=self.where).name
        shared = (self._text("reference"), self._text("context"), self._split(), self.where)
        if not is_pair:
            answer, good = self._needed("answer"), self._good()
            label: AnyLabel = Label(answer, graded_for, good, *shared, id="")
        else:
            a, b, better = self._needed("a"), self._needed("b"), self._better()
            if a == b:
                raise self._wrong("`a` and `b` are the same text, so none is better")
            label = PairLabel(a, b, graded_for, better, *shared, id="")
        digest = sha256(_content(label, with_verdict=False).encode()).hexdigest()[:12]
        return replace(label, id=self._text("id") or digest)

    def _check_keys(self, known: tuple[str, ...]) -> None:
        for key in self.data:
            if key not in known:
                raise self._wrong(f"there is no key {quote(key)}; {did_you_mean(key, known)}")

    def _text(self, key: str) -> str | None:
        value = self.data.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._wrong(f"`{key}` is {quote(value)}, it must be a string")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise self._wrong(f"`{key}` holds half of a character (a lone surrogate)")
        return value

    def _needed(self, key: str) -> str:
        text = self._text(key)
        if text is None:
            raise self._wrong(f"`{key}` is missing; write {_FORMS}")
        return text

    def _good(self) -> bool:
        value = self.data.get("good")
        if not isinstance(value, bool):
            given = f"`good` is {quote(value)}" if "good" in self.data else "`good` is missing"
            raise self._wrong(f"{given}; it must be true or false")
        return value

    def _better(self) -> Literal["a", "b"]:
        value = self.data.get("better")
        if value == "a":
            return "a"
        if value == "b":
            return "b"
        given = f"`better` is {quote(value)}" if "better" in self.data else "`better` is missing"
        raise self._wrong(f'{given}; it must be "a" or "b"')

    def _split(self) -> Split | None:
        value = self._text("split")
        if value is not None and value not in [*Split]:
            raise self._wrong(f"`split` is {quote(value)}; accepted: {', '.join(Split)}")
        return None if value is None else Split(value)

    def _object(self, pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
        keys = [key for key, _ in pairs]
        if repeated := next((key for key in keys if keys.count(key) > 1), None):
            raise self._wrong(f"the key {quote(repeated)} stands there twice")
        return dict(pairs)

    def _wrong(self, what: str) -> SettingsError:
        return SettingsError(f"{self.where}: {what}")
