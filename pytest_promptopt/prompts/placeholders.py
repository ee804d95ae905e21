"""What other programs fill in: placeholders of any template language besides the prompt's own variables."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Collection, Iterator

#: ``{name}``, ``{0.city!r:>10}`` for `str.format`; not ``{{ name }}``, which is a variable or a literal
#: brace, nor ``{name: 1}``, which is data, nor ``{3}`` after a sign of a regular expression.
_FORMAT = re.compile(
    r"(?<![{$\\])\{(?P<name>(?:[^\W\d]\w*|(?<![\w\])}]\{)\d+)(?:\.\w+|\[\w+\])*)"
    r"(?:![rsa])?(?::[^{}\s][^{}\n]*)?\}(?!\})"
)
_OTHERS = (
    re.compile(r"%\(\w+\)[#0\- +]*\d*(?:\.\d+)?[a-zA-Z]"),  # %(name)s
    re.compile(r"(?<![\w%])%[srd](?!\w)"),  # %s
    re.compile(r"(?<![\w$\\])\$(?:\{[^\W\d]\w*\}|[^\W\d]\w*)"),  # $name, ${name}
    re.compile(r"\{\{\{\s*[\w.]+\s*\}\}\}|\{\{\s*[#^/>&]\s*[\w.]+\s*\}\}"),  # Mustache
    re.compile(r"<%[=-]?.*?%>", re.DOTALL),  # ERB and its like
)
#: A variable of Jinja2 or Mustache, where these are not the language of the text.
_DOUBLE = re.compile(r"(?<!\{)\{\{\s*[^\W\d][\w.]*\s*\}\}(?!\})")
_POSITIONAL = ("{}", "%s", "%d", "%r")


def find_placeholders(text: str, *, doubled: bool = False) -> tuple[str, ...]:
    """The placeholders of `text` as they are written, in order; one that occurs twice is there twice.

    :param doubled: whether ``{{ name }}`` is one, since it is no variable of the text itself.
    """
    found = [(match.start(), f"{{{match['name']}}}") for match in _FORMAT.finditer(text)]
    found += [(match.start(), match[0]) for pattern in _OTHERS for match in pattern.finditer(text)]
    if doubled:
        found += [(match.start(), match[0]) for match in _DOUBLE.finditer(text)]
    if _fields(text):
        found += [(match.start(), "{}") for match in re.finditer(r"(?<!\{)\{\}(?!\})", text)]
    return tuple(placeholder for _, placeholder in sorted(found))


def placeholder_objections(
    current: str, candidate: str, *, variables: Collection[str] = (), doubled: bool = False
) -> Iterator[str]:
    """What speaks against `candidate`, in sentences: whoever fills in its placeholders could not.

    A text that has none of a kind may get some: nobody fills in that kind, so it is sent as it stands.

    :param variables: names that the text has variables of; in another language they would stay empty.
    :param doubled: see `find_placeholders`.
    """
    before, after = (Counter(find_placeholders(text, doubled=doubled)) for text in (current, candidate))
    for placeholder, count in before.items():
        if after[placeholder] < (count if placeholder in _POSITIONAL else 1):
            yield f"It lost the placeholder {placeholder}."
    if "{{" not in current and _fields(current) and _fields(candidate) is None:
        yield "It has braces that str.format cannot read; only its placeholders may have braces."
        return
    kinds = set(map(_kind, before))
    for placeholder in sorted(after.keys() - before.keys()):
        name = re.search(r"\w+", placeholder)
        if _kind(placeholder) in kinds or (name and name[0] in variables):
            yield f"It adds the placeholder {placeholder}, which nobody fills in."


def respelled(current: str, candidate: str) -> Iterator[str]:
    """Variables with braces that `candidate` spaces in another way: a plain search would not find them."""
    before, after = ({match[0] for match in _DOUBLE.finditer(text)} for text in (current, candidate))
    spelled = {re.sub(r"\s", "", written): written for written in before}
    for written in sorted(after - before):
        if known := spelled.get(re.sub(r"\s", "", written)):
            yield f"It writes {written} where the text has {known}; spaces count for whoever fills it in."


def _kind(placeholder: str) -> str:
    """What the placeholders begin with that one program fills in."""
    return "{{" if placeholder.startswith("{{") else placeholder[0]


def _fields(text: str) -> list[str] | None:
    """The fields that `str.format` finds in `text`; None when it cannot read it."""
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
    except ValueError:
        return None
    return fields if all(re.fullmatch(r"\w*(?:\.\w+|\[\w+\])*", name) for name in fields) else None
