"""From what a file says of a case to a `FileCase`."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.records import Message, Split
from pytest_promptopt.suites.check_reading import read_checks
from pytest_promptopt.suites.file_case import FileCase
from pytest_promptopt.suites.located import Located
from pytest_promptopt.suites.suite import SkippedCase
from pytest_promptopt.text import cut_end, invisible_places, one_line, quote, unused_name

#: The keys of a case besides its inputs.
OWN_KEYS = ("id", "expected", "checks", "split", "weight", "tags", "messages")
CASE_KEYS = ("inputs", *OWN_KEYS)
#: The answer that was given once, of a case that nobody has looked at yet; it stands beside `inputs` only.
RECORDED = "recorded"
NOT_REVIEWED = (
    "not reviewed: rename `recorded` to `expected` if the answer is right, else write `expected` or `checks`"
)
#: How other programs call the same.
HINTS = {
    "vars": "inputs", "input": "inputs", "variables": "inputs",
    "assert": "checks", "asserts": "checks", "assertions": "checks",
    "name": "id", "description": "id", "output": "expected", "expected_output": "expected",
}  # fmt: skip
#: How alike a key must be to one of ours to be taken for a slip, where inputs stand beside them.
_NEAR = 0.8
#: Names that variables of prompts really have.
_NO_SLIPS = frozenset({"message", "input", "tag", "check"})
#: Characters of an id that is made of an input.
MAX_SLUG = 40
ROLES = ("user", "assistant")


@dataclass(frozen=True)
class SharedParts:
    """What a file says once for all its cases.

    :param inputs: for the cases that do not give them.
    :param checks: what must hold for each of them, as it is written: it may refer to a case's `expected`.
    :param folders: where relative paths begin, the nearest first.
    """

    inputs: Mapping[str, Any] = field(default_factory=dict)
    checks: Located | None = None
    tags: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()


class CaseReader:
    """Reads the cases of one file, or of the several that a suite puts together."""

    def __init__(self, shared: SharedParts) -> None:
        self._shared = shared
        self._cases: list[FileCase] = []
        self._unreviewed: list[SkippedCase] = []
        self._places: dict[str, str] = {}

    @property
    def cases(self) -> tuple[FileCase, ...]:
        """Those that were read, in their order, each with an id of its own."""
        return tuple(self._cases)

    @property
    def unreviewed(self) -> tuple[SkippedCase, ...]:
        """Those with a recorded answer, of which nobody has said yet what is right."""
        return tuple(self._unreviewed)

    def __len__(self) -> int:
        return len(self._cases) + len(self._unreviewed)

    def read(self, given: Located) -> None:
        """Add one case. Raises `SettingsError` with ``file:line``."""
        given.mapping("a case")
        own_inputs = _inputs(given)
        inputs = {**own_inputs, **{k: v for k, v in self._shared.inputs.items() if k not in own_inputs}}
        expected = given.value.get("expected")
        messages = _messages(given)
        if not inputs and not messages:
            raise given.wrong("the case has no inputs; give the prompt's variables")
        own, whole = given.get("checks"), self._shared.checks
        if _is_unreviewed(given):
            skipped = SkippedCase(self._id(given, inputs, messages), NOT_REVIEWED, given.where())
            self._places[skipped.id] = skipped.where
            self._unreviewed.append(skipped)
            return
        checks = read_checks(
            own,
            whole,
            expected=given.get("expected"),
            folders=self._shared.folders,
            case=given.where(),
            inputs=inputs,
        )
        if not checks:
            raise given.wrong("there is nothing to check; give `expected` or `checks`")
        case = FileCase(
            id=self._id(given, inputs, messages),
            inputs=inputs,
            expected=expected,
            checks=checks,
            split=_split(given),
            weight=_weight(given),
            tags=tuple(dict.fromkeys((*self._shared.tags, *read_tags(given.get("tags"))))),
            where=given.where(),
            messages=messages,
        )
        self._places[case.id] = case.where
        self._cases.append(case)

    def _id(self, given: Located, inputs: Mapping[str, Any], messages: Iterable[Message]) -> str:
        written = given.value.get("id")
        if written is not None:
            return self._own_id(given.at("id"), written)
        texts = [value for value in inputs.values() if isinstance(value, str)]
        texts += [message.content for message in messages]
        slug = next(filter(None, map(slug_of, texts)), "") or f"line-{given.line()}"
        return unused_name(slug, self._places)

    def _own_id(self, given: Located, written: Any) -> str:
        if isinstance(written, bool) or not isinstance(written, (str, int, float)):
            raise given.wrong(f"`id` must be a text, got {quote(written)}")
        text = str(written).strip()
        if not text or text != one_line(text) or next(invisible_places(text), None) is not None:
            raise given.wrong(f"`id` must be a text on one line, got {quote(written)}")
        if text in self._places:
            raise given.wrong(f"the id {quote(text)} is that of {self._places[text]} as well")
        return text


def slug_of(text: str) -> str:
    """A short name made of a text: what is not ASCII is left out."""
    plain = unicodedata.normalize("NFKD", text[: 4 * MAX_SLUG]).encode("ascii", "ignore").decode()
    words = "-".join(re.findall(r"[a-z0-9]+", plain.lower().replace("'", "")))
    if len(words) <= MAX_SLUG:
        return words
    return words[: MAX_SLUG + 1].rpartition("-")[0] or words[:MAX_SLUG]


def _is_unreviewed(given: Located) -> bool:
    """Whether a case has a recorded answer, and nothing that somebody says of it."""
    if "inputs" not in given.value or RECORDED not in given.value:
        return False
    return given.get("expected") is None and given.get("checks") is None


def _inputs(given: Located) -> dict[str, Any]:
    if "inputs" in given.value:
        given.check_keys((*CASE_KEYS, RECORDED), hints=HINTS)
        inputs = given.at("inputs").mapping("`inputs`")
        return dict(inputs.value)
    if len(given.value) > len(OWN_KEYS) + 1_000:
        raise given.wrong("the case has more than 1,000 inputs")
    inputs_beside = {key: value for key, value in given.value.items() if key not in OWN_KEYS}
    for key in inputs_beside:
        meant = (
            HINTS.get(key) if key in ("vars", "assert", "asserts", "assertions") else slip_of(key, CASE_KEYS)
        )
        if meant is not None:
            raise given.wrong(
                f"there is no key {quote(key)}; did you mean `{meant}`? An input of this name stands below "
                f"`inputs`, in a table in a column `inputs.{key}`",
                key,
            )
    return inputs_beside


def slip_of(key: str, known: Sequence[str]) -> str | None:
    """The key of ours that `key` was probably meant to be; None when it may well be an input."""
    near = get_close_matches(key.lower(), known, n=1, cutoff=_NEAR)
    return near[0] if near and key.lower() not in _NO_SLIPS else None


def _messages(given: Located) -> tuple[Message, ...]:
    turns = given.get("messages")
    if turns is None:
        return ()
    if not isinstance(turns.value, list):
        raise turns.wrong(f"`messages` must be a list of turns, got {quote(turns.value)}")
    found = []
    for turn in turns.items():
        turn.mapping("a turn of `messages`").check_keys(("role", "content"))
        role, content = turn.value.get("role"), turn.value.get("content")
        if role not in ROLES:
            raise turn.wrong(f"`role` is {quote(role)}; accepted: {', '.join(ROLES)}", "role")
        if not isinstance(content, str) or not content.strip():
            raise turn.wrong(f"`content` must be a text, got {quote(content)}", "content")
        found.append(Message(role, content))
    return tuple(found)


def _split(given: Located) -> str | None:
    value = given.value.get("split")
    if value is None:
        return None
    if value not in list(Split):
        raise given.wrong(f"`split` is {quote(value)}; accepted: {', '.join(Split)}", "split")
    return str(value)


def _weight(given: Located) -> float:
    value = given.value.get("weight")
    if value is None:
        return 1.0
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise given.wrong(f"`weight` must be a number above 0, got {quote(value)}", "weight")
    return float(value)


def read_tags(given: Located | None) -> tuple[str, ...]:
    """The words of a list, or of a text with commas. Raises `SettingsError`."""
    if given is None:
        return ()
    listed = given.value.split(",") if isinstance(given.value, str) else given.value
    if not isinstance(listed, list):
        raise given.wrong(f"`tags` must be a list of words, got {quote(given.value)}")
    tags = []
    for number, tag in enumerate(listed):
        text = tag.strip() if isinstance(tag, str) else None
        if text is None or (not text and isinstance(given.value, list)) or len(text.split()) > 1:
            raise _wrong_tag(given, number, tag)
        tags += [text] if text else []
    return tuple(tags)


def _wrong_tag(given: Located, number: int, tag: Any) -> SettingsError:
    return given.wrong(f"a tag must be one word, got {quote(cut_end(str(tag), 80))}", number)
