"""Write the parts of the reference pages that come from the code, and the JSON Schemas of the package.

    python docs/generate_reference.py            # write them
    python docs/generate_reference.py --check    # say which are out of date, exit status 1 if one is

A page marks such a part with two comments, ``<!-- generated: options -->`` and ``<!-- end of generated -->``.
Everything else on the page is written by hand.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from types import FunctionType
from typing import Any, is_typeddict

import pytest_promptopt
from pytest_promptopt import api, hookspecs, options, testing
from pytest_promptopt.reports import json_report, json_schema
from pytest_promptopt.settings import Settings
from pytest_promptopt.suites import editor_schema
from pytest_promptopt.suites.check_types import CHECK_TYPES

REFERENCE = Path(__file__).parent / "reference"
PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end of generated -->\n)", re.DOTALL)

EXAMPLE = re.compile(r"^(?P<title>[^\n]+)::\n\n(?P<code>(?:[ \t]+[^\n]*(?:\n|\Z)|\n)+)", re.MULTILINE)
PARAMETER = re.compile(r"^:(param|raises|returns) ?(\w*): (.+?)(?=\n:|\n\n|\Z)", re.MULTILINE | re.DOTALL)
SESSION = re.compile(r"^>>> .*\n(?:^(?:>>>|\.\.\.|(?=\S)).*(?:\n|\Z))*", re.MULTILINE)
#: What is written in the code of a TypedDict and cannot be seen in the class.
ATTRIBUTE = re.compile(r'^    (\w+): ([^\n]+)\n(?:    """(.+?)"""\n)?', re.MULTILINE | re.DOTALL)
DEFAULT = re.compile(r" \(default: (.+)\)$")


def markdown(docstring: str | None) -> str:
    """A docstring of the project as Markdown: its examples, its parameters, its code."""
    text = inspect.cleandoc(docstring or "").replace("``", "`")
    text = EXAMPLE.sub(_example, text)
    text = SESSION.sub(lambda found: f"```pycon\n{found[0].strip()}\n```\n", text)
    text = PARAMETER.sub(_parameter, text)
    return text.strip()


def _example(match: re.Match[str]) -> str:
    code = dedent(match["code"]).strip("\n")
    return f"{match['title']}:\n\n```python\n{code}\n```\n"


def _parameter(match: re.Match[str]) -> str:
    kind, name, about = match[1], match[2], " ".join(match[3].split())
    if kind == "param":
        return f"* `{name}`: {about}"
    return f"* {kind.capitalize()}{f' `{name}`' if name else ''}: {about}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


class _Table:
    """Stands in for pytest's parser and keeps the options that it is given."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, str]] = []
        self._inis: set[str] = set()

    def getgroup(self, *_: str) -> _Table:
        return self

    def addoption(self, flag: str, **given: Any) -> None:
        help_text = str(given["help"])
        default = "off" if given.get("action") == "store_true" else _default(flag, help_text)
        self.rows.append((f"`{flag}`", "", DEFAULT.sub("", help_text), default))

    def addini(self, name: str, help_text: str, **_: Any) -> None:
        self._inis.add(name)
        flag = f"`--{name.replace('_', '-')}`"
        for number, row in enumerate(self.rows):
            if row[0] == flag:
                self.rows[number] = (row[0], f"`{name}`", *row[2:])
                return
        self.rows.append(("", f"`{name}`", DEFAULT.sub("", help_text), _default(name, help_text)))


def _default(name: str, help_text: str) -> str:
    """What holds when nothing is given: as the help says it, else as `Settings` has it."""
    if found := DEFAULT.search(help_text):
        return f"`{found[1]}`"
    field = name.removeprefix("--").replace("-", "_").removeprefix("promptopt_")
    value = getattr(Settings(rootdir=Path()), field, None)
    return "none" if value is None or value == () else f"`{value}`"


def option_table() -> str:
    """Every option and ini value, in the order of ``pytest --help``."""
    table = _Table()
    options.add_options(table)  # type: ignore[arg-type]
    lines = ["| option | ini value | meaning | default |", "|---|---|---|---|"]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in table.rows]
    return "\n".join(lines)


def hooks() -> str:
    """Every hook: what it is called with, and what its documentation says."""
    parts = []
    for name, function in vars(hookspecs).items():
        if name.startswith("pytest_promptopt_"):
            signature = f"```python\ndef {name}{_signature(function)}\n```"
            parts.append(f"## {name}\n\n{signature}\n\n{markdown(function.__doc__)}")
    return "\n\n".join(parts)


def _signature(function: Callable[..., Any], *, leave_out: tuple[str, ...] = ()) -> str:
    """The parameters and what is returned; on several lines where one would be long."""
    signature = inspect.signature(function)
    parts: list[str] = []
    for name, value in signature.parameters.items():
        if name in leave_out:
            continue
        if value.kind is value.KEYWORD_ONLY and not any(part.startswith("*") for part in parts):
            parts.append("*")
        parts.append(_parameter_text(value))
    returned = signature.return_annotation
    end = "" if returned is signature.empty else f" -> {returned}"
    line = f"({', '.join(parts)}){end}"
    return line if len(line) <= 88 else "(\n" + "".join(f"    {part},\n" for part in parts) + ")" + end


def _parameter_text(value: inspect.Parameter) -> str:
    stars = {value.VAR_POSITIONAL: "*", value.VAR_KEYWORD: "**"}.get(value.kind, "")
    text = f"{stars}{value.name}"
    if value.annotation is not value.empty:
        text += f": {value.annotation}"
    return text if value.default is value.empty else f"{text} = {_value(value.default)}"


def _value(value: object) -> str:
    if isinstance(value, enum.Enum):
        return str(value)
    if type(value) is object:  # stands for an argument that is not given
        return "..."
    name = getattr(value, "__name__", None)
    return name if isinstance(name, str) else repr(value)


def public_names() -> str:
    """Every name of ``pytest_promptopt.api``: functions, then classes, then errors, then constants."""
    kinds: dict[str, list[str]] = {"Functions": [], "Classes": [], "Errors": [], "Constants": []}
    for name in sorted(api.__all__, key=str.lower):
        value = getattr(api, name)
        if inspect.isclass(value) and issubclass(value, BaseException):
            kinds["Errors"].append(_class(name, value))
        elif inspect.isclass(value):
            kinds["Classes"].append(_class(name, value))
        elif inspect.isfunction(value):
            kinds["Functions"].append(_function(name, value, heading="###"))
        else:
            kinds["Constants"].append(f"* `{name}`: `{_constant(value)}`")
    parts = []
    for title, entries in kinds.items():
        if entries:
            parts += [f"## {title}", *([("\n".join(entries))] if title == "Constants" else entries)]
    return "\n\n".join(parts)


def _constant(value: object) -> str:
    return (
        repr(value)
        if isinstance(value, str | int | float)
        else re.sub(r"\b[a-z_.]+\.(?=[A-Z])", "", str(value))
    )


def _function(name: str, function: FunctionType, *, heading: str) -> str:
    start = "async def" if inspect.iscoroutinefunction(function) else "def"
    signature = _signature(function, leave_out=("self", "cls"))
    shown = f"```python\n{start} {name}{signature}\n```"
    return f"{heading} {name}\n\n{shown}\n\n{markdown(function.__doc__)}".strip()


def _class(name: str, kind: type) -> str:
    parts = [f"### {name}"]
    docstring = inspect.cleandoc(kind.__doc__ or "")
    if dataclasses.is_dataclass(kind):
        about = {match[2]: " ".join(match[3].split()) for match in PARAMETER.finditer(docstring)}
        docstring = PARAMETER.sub("", docstring)
    if docstring and not docstring.startswith(f"{name}("):  # what `dataclass` writes itself
        parts.append(markdown(docstring))
    if issubclass(kind, enum.Enum):
        members = ", ".join(f"`{member.name}` (`{member.value}`)" for member in kind)
        parts.append(f"Values: {members}.")
    elif dataclasses.is_dataclass(kind):
        fields = [f"* `{_field(field)}`" + _about(field.name, about) for field in dataclasses.fields(kind)]
        parts.append("Fields:\n\n" + "\n".join(fields))
    elif is_typeddict(kind):
        written = ATTRIBUTE.findall(_source(kind))
        parts.append(
            "\n".join(
                f"* `{key}: {of}`" + (f": {markdown(said)}" if said else "") for key, of, said in written
            )
        )
    elif "__init__" in vars(kind) and not issubclass(kind, BaseException) and not is_protocol(kind):
        parts.insert(1, f"```python\n{name}{_signature(kind).removesuffix(' -> None')}\n```")
    if members := list(_members(kind)):
        parts.append("Methods and properties:\n\n" + "\n".join(members))
    return "\n\n".join(parts)


def _source(kind: type) -> str:
    """The lines of a class, read from its file."""
    parts = kind.__module__.split(".")[1:]
    text = (
        Path(pytest_promptopt.__file__).parent.joinpath(*parts).with_suffix(".py").read_text(encoding="utf-8")
    )
    return re.split(r"\n\n\n", text.partition(f"class {kind.__name__}(")[2])[0]


def is_protocol(kind: type) -> bool:
    return bool(getattr(kind, "_is_protocol", False))


def _about(name: str, about: Mapping[str, str]) -> str:
    return f": {markdown(about[name])}" if name in about else ""


def _field(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"{field.name}: {field.type} = {_value(field.default)}"
    made = field.default_factory
    return f"{field.name}: {field.type}" + ("" if made is dataclasses.MISSING else f" = {made.__name__}()")  # type: ignore[attr-defined]


def _members(kind: type) -> Iterator[str]:
    """The public methods and properties that the class itself or a base of the project documents."""
    seen: set[str] = set()
    for base in kind.__mro__:
        if not base.__module__.startswith("pytest_promptopt"):
            continue
        for name, value in vars(base).items():
            if name in seen or (name.startswith("_") and not (name == "__call__" and is_protocol(kind))):
                continue
            function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            if isinstance(value, property) or hasattr(value, "attrname"):  # cached_property
                seen.add(name)
                yield _member(f"`{name}`", value.__doc__)
            elif inspect.isfunction(function):
                seen.add(name)
                signature = " ".join(_signature(function, leave_out=("self", "cls")).split())
                signature = signature.replace("( ", "(").replace(", )", ")")
                start = "async " if inspect.iscoroutinefunction(function) else ""
                about = inspect.getdoc(getattr(kind, name))  # of the base, where an override has none
                yield _member(f"`{start}{name}{signature}`", about)


def _member(shown: str, docstring: str | None) -> str:
    text = re.sub(r"\n(?=[^\n])", "\n  ", markdown(docstring))
    return f"* {shown}: {text}" if text else f"* {shown}"


def fakes() -> str:
    """The classes of ``pytest_promptopt.testing``."""
    classes = {name: value for name, value in vars(testing).items() if inspect.isclass(value)}
    own = {name: value for name, value in classes.items() if value.__module__ == testing.__name__}
    return "\n\n".join(_class(name, value) for name, value in own.items() if not name.startswith("_"))


def report_keys() -> str:
    return markdown((json_report.__doc__ or "").partition("\n\n")[2])


def check_table() -> str:
    """Every type of check of a case in a file."""
    lines = ["| check | its value | it holds when |", "|---|---|---|"]
    for name, kind in CHECK_TYPES.items():
        value = f"{kind.accepted}; without one the case's `expected`" if kind.of_expected else kind.accepted
        lines.append("| " + " | ".join(map(_cell, (f"`{name}`", value, kind.description))) + " |")
    return "\n".join(lines)


PARTS: dict[str, Callable[[], str]] = {
    "options": option_table,
    "hooks": hooks,
    "api": public_names,
    "testing": fakes,
    "json-report": report_keys,
    "checks": check_table,
}


def generated(page: str) -> str:
    """`page` with its generated parts as the code has them today."""
    return PART.sub(lambda part: f"{part[1]}{PARTS[part[2]]()}\n{part[3]}", page)


def outdated() -> dict[Path, str]:
    """The pages that differ from the code, and how they should read."""
    pages = {page: page.read_text(encoding="utf-8") for page in sorted(REFERENCE.glob("*.md"))}
    changed = {page: new for page, text in pages.items() if (new := generated(text)) != text}
    schemas = {
        editor_schema.FILE: editor_schema.editor_schema(),
        json_schema.FILE: json_schema.report_schema(),
    }
    for file, schema in schemas.items():
        text = json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            changed[file] = text
    return changed


def main() -> int:
    changed = outdated()
    for page, text in changed.items():
        if "--check" not in sys.argv:
            page.write_text(text, encoding="utf-8")
        print(f"{page.name}: {'out of date' if '--check' in sys.argv else 'written'}")
    return int("--check" in sys.argv and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
