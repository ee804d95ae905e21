"""The suites that traces are written to: one for each prompt; what stands there stays byte by byte."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import PromptoptError, SettingsError
from pytest_promptopt.file_writing import replace_file
from pytest_promptopt.prompts import PromptFile, locate_prompt_file
from pytest_promptopt.prompts.template_languages import LANGUAGES
from pytest_promptopt.records import Message
from pytest_promptopt.suites.located import Located
from pytest_promptopt.suites.located_yaml import read_yaml
from pytest_promptopt.text import shown_path
from pytest_promptopt.traces.case_making import ID_DIGITS, PromptCases, TraceCase, key_of
from pytest_promptopt.traces.case_text import HEADER, case_lines, scalar

ENDING = ".traces.promptopt.yaml"

#: Ids of ours, wherever they stand in a file.
_ID = re.compile(rf"[a-z0-9-]+-[0-9a-f]{{{ID_DIGITS}}}(?![\w-])", re.ASCII)


@dataclass(frozen=True)
class PlannedFile:
    """A suite as it will be.

    :param added: the cases that it does not have yet; `known` how many it has.
    :param content: None where nothing is added.
    """

    path: Path
    prompt: PromptFile
    added: tuple[TraceCase, ...]
    known: int
    content: bytes | None

    def write(self, rootdir: Path) -> None:
        """Raises `SettingsError`."""
        if self.content is None:
            return
        try:
            replace_file(self.path, self.content)
        except OSError as error:
            name = shown_path(self.path, rootdir)
            said = f"--promptopt-from-traces: {name} cannot be written: {error.strerror or error}"
            raise SettingsError(said) from None


@dataclass(frozen=True)
class _Existing:
    """A suite that is there already."""

    path: Path
    name: str
    text: str
    given: Located

    @classmethod
    def read(cls, path: Path, rootdir: Path) -> _Existing:
        """Raises `SettingsError`."""
        name = shown_path(path, rootdir)
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError:
            raise SettingsError(f"{name}:1: it is not UTF-8, so no case can be added to it") from None
        except OSError as error:
            raise SettingsError(f"{name}: it cannot be read: {error.strerror or error}") from None
        return cls(path, name, text, read_yaml(text, name).mapping("a suite"))

    def is_for(self, prompt: PromptFile, rootdir: Path) -> bool:
        """Whether it names the prompt."""
        one, several = self.given.value.get("prompt"), self.given.value.get("prompts")
        language = LANGUAGES.get(str(self.given.value.get("template")))
        for each in several if isinstance(several, list) else [one]:
            try:
                place = locate_prompt_file(
                    each, test_dir=self.path.parent, rootdir=rootdir, where=self.given.where("prompt")
                )
                if PromptFile.load(place, rootdir=rootdir, language=language).name == prompt.name:
                    return True
            except PromptoptError:
                continue
        return False


def plan_file(group: PromptCases, folder: Path, rootdir: Path) -> PlannedFile:
    """The suite of a prompt with its new cases. Raises `SettingsError` where it cannot take any."""
    prompt = group.prompt
    place = _place(prompt, folder, rootdir)
    if isinstance(place, _Existing):
        return _with_new_cases(group, place)
    added = tuple(group.cases.values())
    address = Path(os.path.relpath(prompt.path, place.parent)).as_posix()
    inner = prompt.name[len(prompt.file_name) :]
    language = "" if _reads_alike(prompt, rootdir) else f"template: {prompt.language.name}\n"
    head = f"{HEADER}prompt: {scalar(address + inner)}\n{language}cases:\n"
    return PlannedFile(place, prompt, added, 0, (head + _text(added, "  ")).encode())


def _reads_alike(prompt: PromptFile, rootdir: Path) -> bool:
    """Whether a suite that names the prompt only reads it in the same template language."""
    return PromptFile.load(str(prompt.place), rootdir=rootdir).language is prompt.language


def _place(prompt: PromptFile, folder: Path, rootdir: Path) -> Path | _Existing:
    """The suite that is for a prompt already, else the first path that is free."""
    file, _, inner = prompt.name.partition("::")
    short = "-".join(filter(None, (Path(file).stem, inner)))
    whole = "-".join(filter(None, (Path(file).with_suffix("").as_posix().replace("/", "-"), inner)))
    places = [folder / f"{name}{ENDING}" for name in dict.fromkeys((short, whole))]
    there = [_Existing.read(place, rootdir) for place in places if os.path.lexists(place)]
    for each in there:
        if each.is_for(prompt, rootdir):
            return each
    free = [place for place in places if not os.path.lexists(place)]
    if not free:
        raise SettingsError(
            f"--promptopt-from-traces: {there[-1].name} is for another prompt than {prompt.name}; rename it, "
            "or name another folder: pytest FOLDER --promptopt-from-traces=FILE"
        )
    return free[0]


def _with_new_cases(group: PromptCases, existing: _Existing) -> PlannedFile:
    text, given = existing.text, existing.given
    keys, ids = set(_keys_in(given)), set(_ID.findall(text))
    added = tuple(case for case in group.cases.values() if case.key not in keys and case.id not in ids)
    known = len(group.cases) - len(added)
    if not added:
        return PlannedFile(existing.path, group.prompt, (), known, None)
    indent = _indent(text, given)
    line_end = "\r\n" if "\r\n" in text else "\n"
    between = "" if text.endswith("\n") else line_end
    after = text + between + _text(added, indent).replace("\n", line_end)
    _check(after, given, added, existing.name)
    return PlannedFile(existing.path, group.prompt, added, known, after.encode())


def _text(cases: Iterable[TraceCase], indent: str) -> str:
    return "".join("\n".join(case_lines(case, indent)) + "\n" for case in cases)


def _listed(given: Located) -> Sequence[Any]:
    cases = given.value.get("cases") if isinstance(given.value, Mapping) else None
    return cases if isinstance(cases, list) else ()


def _keys_in(given: Located) -> Iterable[str]:
    """What stands for the questions of a file, whatever their cases are called by now."""
    for case in _listed(given):
        if isinstance(case, Mapping) and isinstance(case.get("inputs"), Mapping):
            turns = case.get("messages") or ()
            messages = [
                Message(str(turn.get("role")), str(turn.get("content")))
                for turn in turns
                if isinstance(turn, Mapping)
            ]
            yield key_of(dict(case["inputs"]), messages)


def _indent(text: str, given: Located) -> str:
    """What stands before the dashes of the cases, whose list must be the end of the file."""
    import yaml

    root: Any = yaml.compose(text.removeprefix("\ufeff"), Loader=yaml.SafeLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    cases = pairs[-1][1] if pairs and pairs[-1][0].value == "cases" else None
    if not isinstance(cases, yaml.SequenceNode) or cases.flow_style or root.flow_style:
        raise given.wrong(
            "no case can be added here: `cases` must be the last key, and a list whose lines begin with `- `",
            "cases",
        )
    return " " * int(cases.start_mark.column)


def _check(after: str, given: Located, added: Sequence[TraceCase], name: str) -> None:
    """Raises `SettingsError` unless the file says what it said before, and the new cases."""
    read = read_yaml(after, name)
    before = given.value
    rest = {key: value for key, value in before.items() if key != "cases"}
    if (
        not isinstance(read.value, Mapping)
        or {key: value for key, value in read.value.items() if key != "cases"} != rest
        or list(_listed(read))[: len(before["cases"])] != before["cases"]
        or len(_listed(read)) != len(before["cases"]) + len(added)
    ):
        said = "no case can be added at the end of this file without a change of what it says"
        raise given.wrong(said, "cases")
