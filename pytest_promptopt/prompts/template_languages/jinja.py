"""Jinja2 in the sandbox of `templates`: ``{{ ticket }}``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_promptopt.prompts.template_languages.parts import Fixed, Opaque, Part, Variable, joined
from pytest_promptopt.prompts.templates import (
    Template,
    Turn,
    code_in,
    is_whole,
    prompt_environment,
    quoted,
)

if TYPE_CHECKING:
    from jinja2 import nodes


_PLAIN_VARIABLE = re.compile(r"\{\{ (\w+) \}\}")


class JinjaTemplate(Template):
    """A compiled template that knows its parts."""

    def __init__(self, source: str, *, name: str, line: int) -> None:
        super().__init__(source, name=name, line=line)
        self._source = source

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        tree = prompt_environment().parse(self._source)
        return joined([part for node in tree.body for part in self._parts_of(node)])

    def _parts_of(self, node: nodes.Node) -> Iterator[Part]:
        from jinja2 import nodes

        if isinstance(node, nodes.Output):
            for child in node.nodes:
                yield from self._parts_of(child)
        elif isinstance(node, nodes.TemplateData):
            yield Fixed(node.data)
        elif isinstance(node, nodes.Const) and isinstance(node.value, str):
            yield Fixed(node.value)
        elif isinstance(node, nodes.Name) and node.name in self.variables:
            yield Variable(node.name, True, f"{{{{ {node.name} }}}}")
        else:
            yield self._opaque(node)

    def _opaque(self, node: nodes.Node) -> Variable | Opaque:
        from jinja2 import nodes

        names = frozenset(name.name for name in node.find_all(nodes.Name)) | (
            {node.name} if isinstance(node, nodes.Name) else set()
        )
        used = names & self.variables.keys()
        kind = f"{{% {type(node).__name__.lower()} %}}"
        if isinstance(node, nodes.Filter | nodes.Getattr | nodes.Getitem):
            kind = f"{{{{ {'|'.join(sorted(used))} }}}} with a filter or an attribute"
            if len(used) == 1:
                return Variable(next(iter(used)), False, repr(node))
        elif isinstance(node, nodes.Expr):
            kind = "an expression"
        line = self._first_line + node.lineno - 1
        return Opaque(repr(node), f"{kind} in line {line}", used)


class Jinja2:
    """See the Protocol `TemplateLanguage`."""

    name = "jinja2"

    def read(self, source: str, *, name: str, line: int) -> JinjaTemplate:
        return JinjaTemplate(source, name=name, line=line)

    def is_whole(self, source: str) -> bool:
        return is_whole(source)

    def escaped(self, text: str) -> str:
        places = {place for place in range(len(text) - 1) if text[place : place + 2] in ("{{", "{%", "{#")}
        places |= {len(text) - 1} if text.endswith("{") else set()
        return "".join(quoted(each) if place in places else each for place, each in enumerate(text))

    def written(self, variable: str) -> str:
        return f"{{{{ {variable} }}}}"

    def constructs(self, source: str, *, name: str, line: int) -> Counter[str]:
        return code_in([Turn(None, source, line)], name=name)

    def plain_variable(self, construct: str) -> str | None:
        plain = _PLAIN_VARIABLE.fullmatch(construct)
        return plain[1] if plain else None

    def placeholders(self, text: str) -> tuple[str, ...]:
        from pytest_promptopt.errors import PromptFileError

        try:
            return tuple(self.constructs(text, name="", line=1).elements())
        except PromptFileError:
            return ()

    def without_code(self, text: str) -> str:
        return text  # nothing that another language would fill in looks like its code
