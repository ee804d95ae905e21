"""``--promptopt-import``: a configuration of promptfoo written as files of ours, beside it."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.file_writing import replace_file
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.roles import role_of
from pytest_promptopt.prompts.sources.address import Address
from pytest_promptopt.prompts.template_languages import JINJA2, NUNJUCKS, Fixed, Variable
from pytest_promptopt.suites.check_reading import read_checks
from pytest_promptopt.suites.checks import Check
from pytest_promptopt.suites.file_case import FileCase
from pytest_promptopt.suites.located import Located
from pytest_promptopt.suites.other_checks import unknown_name
from pytest_promptopt.suites.promptfoo.own_checks import ALIKE, MATCHES, SCRIPT
from pytest_promptopt.suites.promptfoo.reading import ReadSuite, read_promptfoo
from pytest_promptopt.suites.promptfoo.regular_expressions import in_python
from pytest_promptopt.suites.suite import SkippedCase
from pytest_promptopt.text import one_line, plural, shown_path

ENDING = ".promptopt.yaml"


@dataclass
class Imported:
    """What an import writes, and what it leaves out.

    :param files: text -> by path.
    :param left: what is not taken over, a line each.
    """

    files: dict[Path, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    cases: int = 0


def import_file(path: Path, rootdir: Path, out: TextIO, *, embedding_model: str | None = None) -> None:
    """Write the files, and what was done. Raises `SettingsError` before anything is written.

    :param embedding_model: as of `read_promptfoo`.
    """
    if not os.path.isfile(path):
        raise SettingsError(f"--promptopt-import: there is no file {path}; name a promptfooconfig.yaml")
    imported = imported_from(path, rootdir, embedding_model=embedding_model)
    for target in imported.files:
        if target.exists():
            shown = shown_path(target, rootdir)
            raise SettingsError(f"--promptopt-import: {shown} exists already; nothing is overwritten")
    for target, text in imported.files.items():
        try:
            replace_file(target, text.encode())
        except OSError as error:
            raise SettingsError(f"--promptopt-import: {target} cannot be written: {error.strerror}") from None
        out.write(f"wrote {shown_path(target, rootdir)}\n")
    out.write(f"{plural(imported.cases, 'case')} imported, {len(imported.left)} left out\n")
    out.writelines(f"  {line}\n" for line in imported.left)


def imported_from(path: Path, rootdir: Path, *, embedding_model: str | None = None) -> Imported:
    """Raises `SettingsError` where there is nothing to import."""
    found = read_promptfoo(path, rootdir, embedding_model=embedding_model)
    imported = Imported()
    for each in found:
        imported.left += [_line(skipped) for skipped in each.suite.skipped]
    groups: dict[tuple[str, ...], list[ReadSuite]] = {}
    for each in found:
        if cases := tuple(_written_cases(each.suite.cases, imported)):
            groups.setdefault(cases, []).append(each)
    for group in groups.values():
        if any(_settings(each) != _settings(group[0]) for each in group):
            imported.left.append(f"{shown_path(path, rootdir)}: the `config` of providers, which differs")
    imported.left = list(dict.fromkeys(imported.left))
    if not groups:
        reasons = "\n  ".join(imported.left)
        raise SettingsError(f"--promptopt-import: no case of {path.name} can be imported\n  {reasons}")
    texts = _Prompts(path, rootdir)
    for number, (cases, group) in enumerate(groups.items(), start=1):
        name = path.stem if len(groups) == 1 else f"{path.stem}-{number}"
        imported.files[path.with_name(name + ENDING)] = _suite_text(path, group, cases, texts, imported)
        imported.cases += len(cases)
    imported.files = {**texts.files, **imported.files}
    return imported


def _line(skipped: SkippedCase) -> str:
    return f"{skipped.where}: {one_line(skipped.reason)}"


def _suite_text(
    path: Path, group: Sequence[ReadSuite], cases: Sequence[str], texts: _Prompts, imported: Imported
) -> str:
    """A suite of ours for suites that have the same cases."""
    prompts = list(dict.fromkeys(texts.named(each) for each in group))
    models = list(dict.fromkeys(each.suite.model or "" for each in group))
    lines = [f"# Imported from {path.name}."]
    lines += [f"# Left out: {line}" for line in imported.left]
    lines += [f"prompt: {_json(prompts[0])}"] if len(prompts) == 1 else ["prompts:", *_items(prompts)]
    if len(models) == 1:
        lines.append(f"model: {_json(models[0])}")
    else:
        lines.append(f"# Several models: pytest --promptopt-model={','.join(models)}")
    settings = _settings(group[0])
    if settings and all(_settings(each) == settings for each in group):
        lines += ["parameters:", *(f"  {_json(name)}: {_json(value)}" for name, value in settings.items())]
    if group[0].suite.samples:
        lines.append(f"samples: {group[0].suite.samples}")
    return "\n".join([*lines, "cases:", *cases]) + "\n"


def _settings(read: ReadSuite) -> dict[str, Any]:
    """The parameters of the model."""
    return {name: value for name, value in read.suite.parameters.items() if name != "freeze"}


def _items(values: Sequence[Any]) -> list[str]:
    return [f"  - {_json(value)}" for value in values]


def _json(value: Any) -> str:
    """A value as YAML that reads it back: JSON is YAML, and a plain word stays one."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value, re.ASCII) and not _is_word(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _is_word(value: str) -> bool:
    return value.lower() in ("true", "false", "null", "yes", "no", "on", "off", "y", "n")


def _written_cases(cases: Sequence[FileCase], imported: Imported) -> Iterator[str]:
    """Each as our files write it, without those that our files cannot say."""
    for case in cases:
        checks = [written for check in case.checks if (written := _check(check, imported)) is not None]
        if not case.inputs or not checks:
            lacking = "the prompt uses none of its variables" if checks else "nothing is left to check"
            imported.left.append(f"{case.where}: the test {case.id}: {lacking}")
            continue
        lines = [f"  - id: {_json(case.id) if case.id[:1].isalpha() else json.dumps(case.id)}", "    inputs:"]
        lines += [f"      {_json(name)}: {_json(value)}" for name, value in case.inputs.items()]
        lines += ["    checks:", *(f"      - {each}" for each in checks)]
        yield "\n".join(lines)


def _check(check: Check, imported: Imported) -> str | None:
    """A check as our files write it; None for one that they cannot say."""
    given: dict[str, Any] = {check.name: check.value}
    if check.type == MATCHES:
        given = {check.name.replace(MATCHES, "regex"): in_python(check.value)}
    elif check.type == SCRIPT:
        expression = _expression(check)
        if expression is None:
            more = (
                "takes a context" if "context" in check.value else "is more than an expression of the output"
            )
            imported.left.append(f"{check.where}: python: code that {more} is not taken over")
            return None
        given = {check.name.replace(SCRIPT, "python"): expression}
    elif check.type == ALIKE:
        imported.left.append(f"{check.where}: similar: a list of texts is not taken over")
        return None
    if check.threshold is not None:
        given["threshold"] = check.threshold
    if check.type == "similar":
        given["model"] = check.options["model"]
    if check.type == "is-json" and check.value is None:
        return check.name
    try:
        read_checks(Located("", [given], {}), None, expected=None, folders=(), case=check.where)
    except SettingsError as error:
        imported.left.append(f"{check.where}: {str(error).partition(': ')[2]}")
        return None
    pairs = ", ".join(f"{key}: {_json(value)}" for key, value in given.items())
    return pairs if len(given) == 1 else f"{{{pairs}}}"


def _expression(check: Check) -> str | None:
    """Inline code that is one expression of the output, as one of `answer`; None for any other."""
    if "file" in check.options:
        return None
    try:
        body = ast.parse(check.value.strip()).body
    except (SyntaxError, ValueError, RecursionError):
        return None
    # Of several lines promptfoo makes the body of a function, and returns nothing by itself.
    statement: Any = body[0] if len(body) == 1 else None
    if not isinstance(statement, ast.Return if "\n" in check.value else ast.Expr) or statement.value is None:
        return None
    tree: ast.expr = statement.value
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "output":
            node.id = "answer"
    written = ast.unparse(tree)
    if unknown_name(written):  # `context`, and `json`, which promptfoo has imported
        return None
    if check.threshold is not None or _is_condition(tree):
        return written
    return f"({written}) > 0"  # what promptfoo asks of a number, and true of True


def _is_condition(node: ast.expr) -> bool:
    if isinstance(node, ast.BoolOp):
        return all(map(_is_condition, node.values))
    return isinstance(node, ast.Compare) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))


class _Prompts:
    """Prompts of the configuration as files of their own."""

    def __init__(self, path: Path, rootdir: Path) -> None:
        self._path = path
        self._rootdir = rootdir
        self.files: dict[Path, str] = {}
        self._names: dict[str, str] = {}

    def named(self, read: ReadSuite) -> str:
        """How a suite beside the configuration calls the prompt."""
        (address,) = read.suite.prompts
        if address not in self._names:
            self._names[address] = self._file(address, read)
        return self._names[address]

    def _file(self, address: str, read: ReadSuite) -> str:
        place = Address.parse(address).below(self._path.parent)
        file = PromptFile.load(place, rootdir=self._rootdir, language=NUNJUCKS)
        name = f"{self._path.stem}-prompt{read.prompt + 1}.md"
        given = [case.inputs for case in read.suite.cases]
        self.files[self._path.with_name(name)] = prompt_text(file, given)
        return name


def prompt_text(file: PromptFile, given: Sequence[Mapping[str, Any]]) -> str:
    """A prompt as a Markdown file of ours: in Jinja2 where that comes to the same, else in Nunjucks."""
    turns = [(turn.role, turn.source) for turn in file.turns]
    texts = [
        NUNJUCKS.read(source, name=file.name, line=1).parts if _is_simple(source, given, file) else None
        for _, source in turns
    ]
    simple = all(parts is not None for parts in texts)
    bodies = [
        "".join(map(_written, parts or ())) if simple else source
        for (_, source), parts in zip(turns, texts, strict=True)
    ]
    front = "---\ntemplate: jinja2\n---\n" if simple else "---\ntemplate: nunjucks\n---\n"
    if turns[0][0] is None:
        return front + _without_roles(bodies[0]) + "\n"
    chat = [f"{role}:\n{body.strip(chr(10))}\n" for (role, _), body in zip(turns, bodies, strict=True)]
    return front + "\n".join(chat)


def _written(part: object) -> str:
    if isinstance(part, Fixed):
        return JINJA2.escaped(part.text)
    assert isinstance(part, Variable)
    return JINJA2.written(part.name)


def _is_simple(source: str, given: Sequence[Mapping[str, Any]], file: PromptFile) -> bool:
    """Whether it holds plain variables alone, and each case gives all of them, as texts."""
    parts = NUNJUCKS.read(source, name=file.name, line=1).parts
    if not all(isinstance(part, Fixed) or (isinstance(part, Variable) and part.exact) for part in parts):
        return False
    names = {part.name for part in parts if isinstance(part, Variable)}
    return all(isinstance(inputs.get(name), str) for inputs in given for name in names)


def _without_roles(body: str) -> str:
    """A text whose first line would begin a turn is told not to."""
    first = next(iter(body.lstrip("\n").split("\n")), "")
    return '{{ "" }}' + body if role_of(first) else body
