"""What other programs fill in: placeholders of any template language besides the prompt's own variables."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterator

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
_POSITIONAL = ("{}", "%s", "%d", "%r")


def find_placeholders(text: str) -> tuple[str, ...]:
    """The placeholders of `text` as they are written, in order; one that occurs twice is there twice."""
    found = [(match.start(), f"{{{match['name']}}}") for match in _FORMAT.finditer(text)]
    found += [(match.start(), match[0]) for pattern in _OTHERS for match in pattern.finditer(text)]
    if _fields(text):
        found += [(match.start(), "{}") for match in re.finditer(r"(?<!\{)\{\}(?!\})", text)]
    return tuple(placeholder for _, placeholder in sorted(found))


def placeholder_objections(current: str, candidate: str) -> Iterator[str]:
    """What speaks against `candidate`, in sentences: whoever fills in its placeholders could not."""
    before, after = Counter(find_placeholders(current)), Counter(find_placeholders(candidate))
    for placeholder, count in before.items():
        if after[placeholder] < (count if placeholder in _POSITIONAL else 1):
            yield f"It lost the placeholder {placeholder}."
    if "{{" in current or not _fields(current):
        return  # its braces are not, or not only, for `str.format`
    if _fields(candidate) is None:
        yield "It has braces that str.format cannot read; only its placeholders may have braces."
        return
    for placeholder in sorted(after.keys() - before.keys()):
        if placeholder.startswith("{"):
            yield f"It adds the placeholder {placeholder}, which nobody fills in."


def _fields(text: str) -> list[str] | None:
    """The fields that `str.format` finds in `text`; None when it cannot read it."""
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
    except ValueError:
        return None
    return fields if all(re.fullmatch(r"\w*(?:\.\w+|\[\w+\])*", name) for name in fields) else None
