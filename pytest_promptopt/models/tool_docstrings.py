"""What a docstring says of each parameter: in Sphinx's, Google's and NumPy's way of writing."""

from __future__ import annotations

import re
from collections.abc import Collection

_SPHINX = re.compile(r"^:param (?:[^:]*?\s)?(\w+):\s*(.*)$")
_OTHER_FIELD = re.compile(r"^:\w+[^:]*:")
_SECTION = re.compile(r"^(Args|Arguments|Parameters|Params|Returns|Raises|Yields|Examples?|Notes?):?\s*$")
_ABOUT = ("Args", "Arguments", "Parameters", "Params")
_GOOGLE = re.compile(r"^(\s*)\*{0,2}(\w+)(?:\s*\([^)]*\))?\s*:\s+(.*)$")
_NUMPY = re.compile(r"^(\w+)\s*(?::.*)?$")


def described_parameters(doc: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """The text of a docstring without what it says of parameters and results, and that, by parameter.

    :param known: the names of the parameters.
    """
    text: list[str] = []
    about: dict[str, list[str]] = {}
    section, current = "", ""
    lines = doc.splitlines()
    for number, line in enumerate(lines):
        heading = _SECTION.match(line)
        underlined = number + 1 < len(lines) and set(lines[number + 1].strip()) == {"-"}
        if heading and (line.rstrip().endswith(":") or underlined):
            section, current = ("NumPy" if underlined and heading[1] in _ABOUT else heading[1]), ""
        elif sphinx := _SPHINX.match(line):
            section, current = "Sphinx", sphinx[1]
            about[current] = [sphinx[2]]
        elif _OTHER_FIELD.match(line):
            section, current = "Sphinx", ""
        elif not section:
            text.append(line)
        elif set(line.strip()) != {"-"}:
            current = _told(section, current, line, about, known)
    return "\n".join(text).strip(), {
        name: " ".join(said).strip() for name, said in about.items() if any(said)
    }


def _told(section: str, current: str, line: str, about: dict[str, list[str]], known: Collection[str]) -> str:
    """Add what a line of a section says; the parameter that it is about, empty for none."""
    if section in _ABOUT and (google := _GOOGLE.match(line)) and google[2] in known:
        about[google[2]] = [google[3]]
        return google[2]
    if section == "NumPy" and (numpy := _NUMPY.match(line)) and numpy[1] in known:
        about[numpy[1]] = []
        return numpy[1]
    if current and line.strip():
        about[current].append(line.strip())
    return current
