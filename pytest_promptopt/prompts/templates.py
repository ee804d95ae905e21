"""Jinja2 in a sandbox: chat turns, the variables of a text, rendering. Values are data, never templates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_promptopt.errors import PromptFileError, RenderError
from pytest_promptopt.prompts.roles import role_lines, role_of

if TYPE_CHECKING:
    from pytest_promptopt.prompts.sandbox import PromptEnvironment

#: No model reads more; a loop in a template that gets here is a mistake, better stopped than swapped.
MAX_RENDERED_CHARACTERS = 10_000_000

#: Around the examples of a prompt, which are the tool's own; a line each, and nothing else on it.
EXAMPLES_BEGIN = "{# promptopt: examples #}"
INPUTS_BEGIN = "{# promptopt: examples, inputs only #}"
EXAMPLES_END = "{# promptopt: end of examples #}"
EXAMPLES_MARKS = (EXAMPLES_BEGIN, INPUTS_BEGIN, EXAMPLES_END)


@dataclass(frozen=True)
class Turn:
    """One chat turn of the template text; `role` is None when the prose has no role lines.

    :param attributes: what stands beside the role.
    """

    role: str | None
    source: str
    line: int
    attributes: Mapping[str, str | int] = field(default_factory=dict)


def split_turns(prose: str, *, first_line: int) -> tuple[Turn, ...]:
    """Cut `prose` at its role lines if the first line of it is one; else it is one turn."""
    lines = prose.split("\n")
    starts = role_lines(lines)
    if not starts:
        return (_turn(None, lines, 0, len(lines), first_line),)
    ends = [*starts[1:], len(lines)]
    return tuple(
        _turn(role_of(lines[start]), lines, start + 1, end, first_line)
        for start, end in zip(starts, ends, strict=True)
    )


def is_role_line(line: str) -> bool:
    """Whether `line` opens a turn in a text that is cut into turns."""
    return role_of(line) is not None


def _says_nothing(line: str) -> bool:
    return line.strip() in ("", *EXAMPLES_MARKS)


def _turn(role: str | None, lines: list[str], start: int, end: int, first_line: int) -> Turn:
    while start < end and _says_nothing(lines[start]):
        start += 1
    while end > start and _says_nothing(lines[end - 1]):
        end -= 1
    return Turn(role, "\n".join(lines[start:end]), first_line + start)


class Template:
    """A compiled text of the file `name` that knows its lines.

    Raises `PromptFileError` at the file line of a syntax error. Text that a model wrote first goes through
    `code_in`, which only reads.
    """

    #: name -> file line of its first use, for every name that may be given
    variables: Mapping[str, int]
    #: Those of them that must be given: used where the template has not looked whether they are.
    needed: frozenset[str]

    def __init__(self, source: str, *, name: str, line: int) -> None:
        from jinja2 import TemplateSyntaxError, meta, nodes

        from pytest_promptopt.prompts.required_variables import required_names
        from pytest_promptopt.prompts.sandbox import with_limits

        self._name = name
        self._first_line = line
        environment = prompt_environment()
        try:
            tree = environment.parse(source)
            loads = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
            for node in tree.find_all(loads):
                self._refuse(
                    node.lineno, f"`{type(node).__name__.lower()}` is not supported in a prompt file"
                )
            undeclared = meta.find_undeclared_variables(tree)
            used = [n for n in tree.find_all(nodes.Name) if n.name in undeclared and n.ctx == "load"]
            self.variables = {
                n.name: self._file_line(n.lineno) for n in sorted(used, key=lambda n: n.lineno, reverse=True)
            }
            self.needed = required_names(tree) & undeclared
            self._template = environment.from_string(with_limits(tree, environment))
        except TemplateSyntaxError as error:
            self._refuse(error.lineno, f"template syntax error: {error.message}")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            self._refuse(1, f"the template cannot be compiled: {error}")

    def render(self, variables: Mapping[str, object]) -> str:
        """The text for these values; within the limits of `sandbox`.

        Raises `RenderError` at the file line where the template fails on these values."""
        from pytest_promptopt.prompts.sandbox import rendering_limits

        pieces: list[str] = []
        size = 0
        try:
            with rendering_limits():
                stream: Any = self._template.root_render_func(self._template.new_context(dict(variables)))
                for piece in stream:
                    size += len(piece)
                    if size > MAX_RENDERED_CHARACTERS:
                        # Thrown inside, so that the traceback knows the line of the loop.
                        stream.throw(
                            OverflowError(f"the text grows beyond {MAX_RENDERED_CHARACTERS:,} characters")
                        )
                    pieces.append(piece)
        except Exception as error:
            reason = f"cannot be rendered: {type(error).__name__}: {error}"
            raise RenderError(self._name, self._line_of(error), reason) from error
        return "".join(pieces)

    def _file_line(self, line: int) -> int:
        return self._first_line + line - 1

    def _line_of(self, error: Exception) -> int:
        line, frame = 1, error.__traceback__
        while frame is not None:
            if frame.tb_frame.f_globals.get("__jinja_template__") is self._template:
                line = self._template.get_corresponding_lineno(frame.tb_lineno)
            frame = frame.tb_next
        return self._file_line(line)

    def _refuse(self, line: int, reason: str) -> NoReturn:
        raise PromptFileError(self._name, self._file_line(line), reason) from None


def is_whole(source: str) -> bool:
    """Whether every block of a template is closed in it."""
    from jinja2 import TemplateSyntaxError

    try:
        prompt_environment().parse(source)
    except TemplateSyntaxError:
        return False
    return True


def code_in(turns: Iterable[Turn], *, name: str) -> Counter[str]:
    """How often each ``{{ }}``, ``{% %}`` and ``{# #}`` occurs, spaced alike; nothing is evaluated.

    Raises `PromptFileError` when one of them is not closed.
    """
    from jinja2 import TemplateSyntaxError

    found: list[str] = []
    for turn in turns:
        try:
            found += _constructs(prompt_environment().lex(turn.source))
        except TemplateSyntaxError as error:
            line = turn.line + error.lineno - 1
            raise PromptFileError(name, line, f"template syntax error: {error.message}") from None
    return Counter(found)


def _constructs(tokens: Iterable[tuple[int, str, str]]) -> Iterator[str]:
    parts: list[str] = []
    for _, kind, value in tokens:
        if kind in ("raw_begin", "raw_end"):
            yield "{% raw %}" if kind == "raw_begin" else "{% endraw %}"
        elif kind.endswith("_begin"):
            parts = [value.strip()]
        elif kind.endswith("_end"):
            yield " ".join([*parts, value.strip()])
            parts = []
        elif parts and kind != "whitespace":
            parts.append(value.strip())


@dataclass(frozen=True)
class Part:
    """Text of a template as it will be sent, or the name of a variable that is put in there as it is."""

    text: str
    is_variable: bool


def plain_parts(source: str) -> tuple[Part, ...] | None:
    """A template that holds plain variables only (``{{ ticket }}``), in parts; None when it holds more.

    Comments are no part, text in quotes (``{{ "{" }}``) is text. Nothing is evaluated.
    """
    from jinja2 import TemplateSyntaxError, nodes

    environment = prompt_environment()
    try:
        tree = environment.parse(source)
    except (TemplateSyntaxError, ValueError, RecursionError):
        return None
    parts: list[Part] = []
    for output in tree.body:
        if not isinstance(output, nodes.Output):
            return None
        for node in output.nodes:
            if isinstance(node, nodes.Name) and node.name not in environment.globals:
                parts.append(Part(node.name, True))
            elif isinstance(node, nodes.TemplateData):
                parts.append(Part(node.data, False))
            elif isinstance(node, nodes.Const) and isinstance(node.value, str):
                parts.append(Part(node.value, False))
            else:
                return None
    return tuple(parts)


def quoted(text: str) -> str:
    """A template that renders as `text`, whatever is in it."""
    return '{{ "' + text.encode("unicode_escape").decode().replace('"', '\\"') + '" }}'


@cache
def prompt_environment() -> PromptEnvironment:
    """The sandbox of all prompt files."""
    from pytest_promptopt.prompts.sandbox import PromptEnvironment

    return PromptEnvironment()
