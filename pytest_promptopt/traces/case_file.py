"""The suites that traces are written to: one for each prompt; what stands there stays byte by byte."""

from __future__ import annotations

import os
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
from pytest_promptopt.suites.suite_reading import read_suite
from pytest_promptopt.text import shown_path
from pytest_promptopt.traces.case_making import PromptCases, TraceCase, key_of
from pytest_promptopt.traces.case_text import HEADER, case_lines, scalar

ENDING = ".traces.promptopt.yaml"


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


def plan_file(group: PromptCases, folder: Path, rootdir: Path) -> PlannedFile:
    """The suite of a prompt with its new cases. Raises `SettingsError` where it cannot take any."""
    prompt = group.prompt
    path = _path(prompt, folder, rootdir)
    if not os.path.lexists(path):
        added = tuple(group.cases.values())
        address = Path(os.path.relpath(prompt.path, path.parent)).as_posix()
        inner = prompt.name[len(prompt.file_name) :]
        language = "" if _reads_alike(prompt, rootdir) else f"template: {prompt.language.name}\n"
        head = f"{HEADER}prompt: {scalar(address + inner)}\n{language}cases:\n"
        return PlannedFile(path, prompt, added, 0, (head + _text(added, "  ")).encode())
    return _with_new_cases(group, path, rootdir)


def _reads_alike(prompt: PromptFile, rootdir: Path) -> bool:
    """Whether a suite that names the prompt only reads it in the same template language."""
    return PromptFile.load(str(prompt.place), rootdir=rootdir).language is prompt.language


def _path(prompt: PromptFile, folder: Path, rootdir: Path) -> Path:
    """The file of a prompt: that which is for it already, else the first that is for no other."""
    file, _, inner = prompt.name.partition("::")
    short = "-".join(filter(None, (Path(file).stem, inner)))
    whole = "-".join(filter(None, (Path(file).with_suffix("").as_posix().replace("/", "-"), inner)))
    places = [folder / f"{name}{ENDING}" for name in dict.fromkeys((short, whole))]
    there = [place for place in places if os.path.lexists(place)]
    for place in there:
        if _is_for(place, prompt, rootdir):
            return place
    free = [place for place in places if place not in there]
    if not free:
        name = shown_path(there[-1], rootdir)
        raise SettingsError(
            f"--promptopt-from-traces: {name} is for another prompt than {prompt.name}; rename it, or name "
            "another folder: pytest FOLDER --promptopt-from-traces=FILE"
        )
    return free[0]


def _is_for(path: Path, prompt: PromptFile, rootdir: Path) -> bool:
    suite = read_suite(path, rootdir)
    for each in suite.prompts:
        try:
            address = locate_prompt_file(each, test_dir=path.parent, rootdir=rootdir, where=str(path))
            found = PromptFile.load(address, rootdir=rootdir, language=LANGUAGES.get(suite.template))
        except PromptoptError:
            continue
        if found.name == prompt.name:
            return True
    return False


def _with_new_cases(group: PromptCases, path: Path, rootdir: Path) -> PlannedFile:
    name = shown_path(path, rootdir)
    before = path.read_bytes()
    try:
        text = before.decode()
    except UnicodeDecodeError:
        raise SettingsError(f"{name}:1: it is not UTF-8, so no case can be added to it") from None
    given = read_yaml(text, name)
    keys = set(_keys_in(given))
    added = tuple(
        case for case in group.cases.values() if case.key not in keys and not _is_named(case.id, text)
    )
    known = len(group.cases) - len(added)
    if not added:
        return PlannedFile(path, group.prompt, (), known, None)
    indent = _indent(text, given)
    line_end = "\r\n" if "\r\n" in text else "\n"
    between = "" if text.endswith("\n") else line_end
    after = text + between + _text(added, indent).replace("\n", line_end)
    _check(after, given, added, name)
    return PlannedFile(path, group.prompt, added, known, after.encode())


def _text(cases: Iterable[TraceCase], indent: str) -> str:
    return "".join("\n".join(case_lines(case, indent)) + "\n" for case in cases)


def _is_named(id: str, text: str) -> bool:
    """Whether an id stands in the file, and not as a part of a longer word."""
    place = text.find(id)
    while place >= 0:
        around = text[place - 1 : place] + text[place + len(id) : place + len(id) + 1]
        if not any(letter.isalnum() or letter == "-" for letter in around):
            return True
        place = text.find(id, place + 1)
    return False


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
