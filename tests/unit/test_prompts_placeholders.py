"""What an application fills in stays in the prompt, whatever its template language."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.placeholders import find_placeholders, placeholder_objections

FOUND = {
    "str.format": ("Route to {labels} by {date:%Y}.", ("{labels}", "{date}")),
    "a field of it": ("{user.name} {row[id]!r:>10}", ("{user.name}", "{row[id]}")),
    "in a word": ("v{version}", ("{version}",)),
    "positions": ("One of {0}, {1}", ("{0}", "{1}")),
    "in a row": ("One of {}, not {}", ("{}", "{}")),
    "percent": ("One of %(labels)s by %(n)d", ("%(labels)s", "%(n)d")),
    "bare percent": ("One of %s", ("%s",)),
    "string.Template": ("One of $labels or ${other}.", ("$labels", "${other}")),
    "Mustache": ("{{#a}}x{{/a}} {{^ a }} {{{a}}}", ("{{#a}}", "{{/a}}", "{{^ a }}", "{{{a}}}")),
    "ERB": ("One of <%= labels %>", ("<%= labels %>",)),
    "a variable of the prompt": ("One of {{ labels }}", ()),
    "JSON": ('Answer {"label": "x"} or {} or {amount: 5}', ()),
    "prices and percents": ("Under $5, 100% sure, 50%", ()),
    "a regular expression": (r"Matches \d{3} and [a-z]{2}", ()),
    "written twice": ("Literally {{label}} and %%s and $$x", ()),
}  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), FOUND.values(), ids=FOUND)
def test_the_placeholders_of_a_text(text: str, wanted: tuple[str, ...]) -> None:
    assert find_placeholders(text) == wanted


CANDIDATES = {
    "lost": ("Route to {labels}.", "Route to billing.", "It lost the placeholder {labels}."),
    "lost percent": ("To %(labels)s.", "To billing.", "It lost the placeholder %(labels)s."),
    "lost dollar": ("To $labels.", "To billing.", "It lost the placeholder $labels."),
    "lost section": ("{{#a}}x{{/a}}", "{{#a}}x", "It lost the placeholder {{/a}}."),
    "one of two": ("To %s by %s.", "To %s.", "It lost the placeholder %s."),
    "added": (
        "To {labels}.",
        "To {labels} in {tone}.",
        "It adds the placeholder {tone}, which nobody fills in.",
    ),
    "JSON": ("To {labels}.", 'To {labels} as {"a": 1}.', "It has braces that str.format cannot read"),
    "once more": ("To {labels}.", "To {labels}. Only {labels:>3}!", ""),
    "a variable besides": ("To {labels}: {{ x }}", 'To {labels} as {"a": 1}: {{ x }}', ""),
    "none before": ("Route it.", "Answer like {label} or 5 %s.", ""),
}


@pytest.mark.parametrize(("current", "candidate", "objection"), CANDIDATES.values(), ids=CANDIDATES)
def test_what_speaks_against_a_candidate(current: str, candidate: str, objection: str) -> None:
    found = list(placeholder_objections(current, candidate))
    assert len(found) == bool(objection)
    assert not objection or found[0].startswith(objection)


def test_a_candidate_that_drops_one_costs_no_call(tmp_path: Path) -> None:
    path = tmp_path / "route.md"
    path.write_text("Route to {labels}: {{ ticket }}\n", encoding="utf-8")
    file = PromptFile.load(path, rootdir=tmp_path)
    assert file.objections("Route carefully: {{ ticket }}") == ("It lost the placeholder {labels}.",)
    assert file.objections("Route carefully to {labels}: {{ ticket }}") == ()
