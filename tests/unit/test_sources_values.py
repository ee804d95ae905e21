"""A prompt that is a value of a YAML, JSON or TOML file is rewritten where it stands."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.prompts.sources import Address, Source, source_of
from pytest_promptopt.prompts.sources.key_paths import KeyPath
from pytest_promptopt.prompts.sources.yaml_scalars import Scalar

YAML = """\
# top
a: &x plain text # why
b:
  - one
  - {s: 'it''s', t: "q\\n"}
  -   - deep
c: *x
triage:
  system: |
    You sort.
      in

    {{ x }}

  # between
  user: "x" # c
folded: >-
  folded text that is
  long

  par
kept: |+
  t


9: 1
"""
TOML = """\
# "x"
a = "x"
[t.u]
s = \"\"\"
hello\\u2014
\"\"\"
l = 'x'
m = '''
q'''
[[z]]
w = {k = "x"}
"""
JSON = '{"a": {"b": ["x", "tex\\u00e9t"]}, "c": "x", "a.b": "dotted"}'
FRONT = "---\nname: sort\ndescription: Use when sorting. # why\nallowed-tools: [a]\n---\n# Body\n{{ not }}\n"

#: Name of the file, its text, and the paths of its texts.
FILES = {
    "yaml": (
        "app.yaml",
        YAML,
        ("a", "b[0]", "b[1].s", "b[1].t", "b[2][0]", "triage.system", "triage.user", "folded", "kept"),
    ),
    "yaml of Windows": (
        "app.yml",
        YAML.replace("\n", "\r\n"),
        ("triage.system", "triage.user", "folded", "b.0"),
    ),
    "yaml that ends in a text": ("app.yaml", "- |2-\n    a\n  b\n- c\n- 'last'", ("[0]", "[1]", "[2]")),
    "yaml that ends in a block": ("app.yaml", "k: >\n  last", ("k",)),
    "json": ("app.json", JSON, ("a.b[0]", "a.b[1]", "c", '"a.b"')),
    "toml": ("app.toml", TOML, ("a", "t.u.s", "t.u.l", "t.u.m", "z[0].w.k")),
    "toml of Windows": ("app.toml", TOML.replace("\n", "\r\n"), ("a", "t.u.s", "t.u.l")),
    "front matter": ("SKILL.md", FRONT, ("description", "name")),
}
PLACES = [(name, text, path) for name, text, paths in FILES.values() for path in paths]

TEXTS = (
    st.text(st.sampled_from("ab \\\"'\n\t{}é—\x00\x1b\u2028n:#-|>[]*&%@0y\x85\ufeff"), max_size=25)
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.text(st.sampled_from("ab \n"), max_size=30)
)


def source(name: str, path: str) -> Source:
    return source_of(Address.parse(f"{name}::{path}"))[0]


def data_of(name: str, text: str) -> Any:
    """What other programs read."""
    if name.endswith((".yaml", ".yml")):
        return yaml.safe_load(text)
    if name.endswith(".md"):
        _, front, body = text.split("---\n", 2)
        return {**yaml.safe_load(front), "the body": body}
    return json.loads(text) if name.endswith(".json") else tomllib.loads(text)


def with_value(data: Any, steps: tuple[str | int, ...], value: object) -> Any:
    if not steps:
        return value
    first, rest = steps[0], steps[1:]
    key: Any = int(first) if isinstance(data, list) else first
    copy = list(data) if isinstance(data, list) else dict(data)
    copy[key] = with_value(copy[key], rest, value)
    return copy


@pytest.mark.parametrize(("name", "text", "path"), PLACES)
def test_what_is_read_is_what_other_programs_read(name: str, text: str, path: str) -> None:
    value = KeyPath.parse(path).value_in(data_of(name, text))
    assert source(name, path).read(text.encode(), name=name).prose == value.strip("\n")


@settings(max_examples=600, deadline=None)
@given(place=st.sampled_from(PLACES), candidate=TEXTS)
def test_any_text_can_take_its_place_and_nothing_else_changes(
    place: tuple[str, str, str], candidate: str
) -> None:
    name, text, path = place
    candidate = re.sub("\r\n|\r", "\n", candidate).strip("\n")
    if not candidate.strip():
        return
    changed = source(name, path).read(text.encode(), name=name).replaced(candidate)
    steps = KeyPath.parse(path).steps
    before, after = data_of(name, text), data_of(name, changed)
    value = KeyPath(steps).value_in(after)
    assert value.strip("\n") == candidate
    if path != "a" or not name.startswith("app.y"):  # an alias elsewhere says the same
        assert with_value(after, steps, 0) == with_value(before, steps, 0)
    # No text of these files has more than six lines.
    first, lines = (
        source(name, path).read(text.encode(), name=name).first_line,
        text.splitlines(keepends=True),
    )
    assert changed.startswith("".join(lines[: max(0, first - 2)]))
    assert changed.endswith("".join(lines[first + 5 :]))


@pytest.mark.parametrize(("name", "text", "path"), PLACES)
def test_a_line_more_leaves_all_bytes_around_it(name: str, text: str, path: str) -> None:
    found = source(name, path).read(text.encode(), name=name)
    changed = found.replaced(f"{found.prose}\nOne more: line # here")
    start = (
        next(n for n, (old, new) in enumerate(zip(text, changed, strict=False)) if old != new)
        if (not changed.startswith(text))
        else len(text)
    )
    end = next(
        (n for n, (old, new) in enumerate(zip(text[::-1], changed[::-1], strict=False)) if old != new),
        len(text),
    )
    # All that differs is the text itself, and how it is quoted.
    span = text[max(0, start - 3) : len(text) - end + 3]
    assert len(span.encode()) <= len(found.prose.encode()) + 40
    assert changed.count("\r\n") >= text.count("\r\n")


REWRITES = {
    "a block stays a block": (
        "s: |\n  One.\n\n  {{ x }}\nb: 1 # c\n",
        "One.\n\nTwo: 2\n\n{{ x }}",
        "s: |\n  One.\n\n  Two: 2\n\n  {{ x }}\nb: 1 # c\n",
    ),
    "with its indentation and its head": (
        "s: |-   # why\n      One.\n",
        "One.\nTwo.",
        "s: |-   # why\n      One.\n      Two.\n",
    ),
    "a folded text stays folded": (
        "s: >-\n  one two\n  three\n\n  four\n",
        "one two three\nfour five",
        "s: >-\n  one two three\n\n  four five\n",
    ),
    "a plain text stays plain": ("s: Sort it\n", "Sort this now", "s: Sort this now\n"),
    "unless it would mean something else": ("s: Sort it\n", "Sort: it", 's: "Sort: it"\n'),
    "or no text": ("s: Sort it\n", "yes", 's: "yes"\n'),
    "quotes stay": ("s: 'it''s'\n", "it's so", "s: 'it''s so'\n"),
    "a line that becomes several becomes a block": (
        "s: 'x' # c\nb: 1\n",
        "x\ny",
        "s: |- # c\n  x\n  y\nb: 1\n",
    ),
    "but not in a flow": ("{s: x, b: 1}\n", "x\ny", '{s: "x\\ny", b: 1}\n'),
    "escaped line ends stay escaped": ('s: "x\\ny"\n', "x\nz", 's: "x\\nz"\n'),
}


@pytest.mark.parametrize(("text", "candidate", "wanted"), REWRITES.values(), ids=REWRITES)
def test_yaml_is_written_as_it_was(text: str, candidate: str, wanted: str) -> None:
    assert source("a.yaml", "s").read(text.encode(), name="a.yaml").replaced(candidate) == wanted


@pytest.mark.parametrize(
    ("text", "candidate", "wanted"),
    [
        ('s = "x" # c\n', "x y", 's = "x y" # c\n'),
        ('s = "x" # c\n', "x\ny", 's = """\nx\ny""" # c\n'),
        ("s = 'x'\n", "it's", 's = "it\'s"\n'),
        ("s = '''\nx'''\n", "x\n\\y", "s = '''\nx\n\\y'''\n"),
        ('s = """\nx\n"""\n', 'x "y"', 's = """\nx "y"\n"""\n'),
        ('s = "a\\nb"\n', "a\nc", 's = "a\\nc"\n'),
    ],
)
def test_toml_is_written_as_it_was(text: str, candidate: str, wanted: str) -> None:
    assert source("a.toml", "s").read(text.encode(), name="a.toml").replaced(candidate) == wanted


REFUSED = {
    "missing": ("a.yaml", "s:\n  a: 1\n", "s.b", "a.yaml:2: there is no key `b` in s; it has a"),
    "near": (
        "a.yaml",
        "system: a\n",
        "sytem",
        "a.yaml:1: there is no key `sytem` in the file; did you mean `system`?",
    ),
    "number": ("a.yaml", "s: 3\n", "s", "a.yaml:1: `s` is '3'; a prompt is a text"),
    "mapping": ("a.yaml", "s:\n  a: b\n", "s", "a.yaml:2: `s` is a list or mapping; a prompt is a text"),
    "tag": (
        "a.yaml",
        "s: !file a.md\n",
        "s",
        "a.yaml:1: `s` is 'a.md' with the tag !file; a prompt is a text",
    ),
    "alias": (
        "a.yaml",
        "a: &x text\nb: *x\n",
        "b",
        "a.yaml:2: `b` is an alias of what line 1 says; name the prompt by its place there",
    ),
    "merge": (
        "a.yaml",
        "a: &x {s: t}\nb:\n  <<: *x\n",
        "b.s",
        "a.yaml:3: there is no key `s` in b; if it comes by `<<` in line 3, name the prompt by its place",
    ),
    "alias in a list": (
        "a.yaml",
        "- &x text\n- *x\n- [*x, *x]\n",
        "[2][1]",
        "a.yaml:3: `[2][1]` is an alias of what line 1 says; name the prompt by its place there",
    ),
    "not yaml": ("a.yaml", "a: [\n", "a", "a.yaml:2: is not valid YAML: "),
    "two documents": (
        "a.yaml",
        "a: b\n---\nc: d\n",
        "a",
        "a.yaml:2: is not valid YAML: but found another document",
    ),
    "no item": (
        "a.yaml",
        "a: [b]\n",
        "a[1]",
        "a.yaml:1: a has 1 items, so there is no [1]; the first one is [0]",
    ),
    "not json": ("a.json", '{"a":\n 1,}', "a", "a.json:2: is not valid JSON: "),
    "json number": ("a.json", '{"a": [1]}', "a[0]", "a.json: `a[0]` is 1; a prompt is a text"),
    "json missing": (
        "a.json",
        '{"ab": "x"}',
        "a.b",
        "a.json: there is no key `a` in the file; did you mean `ab`?",
    ),
    "not toml": ("a.toml", "a = \n", "a", "a.toml: is not valid TOML: "),
    "empty": ("a.json", '{"a": " "}', "a", "a.json:1: the prompt is empty: `a` has no text"),
    "no front matter": (
        "a.md",
        "Text\n",
        "description",
        "a.md:1: there is no front matter, so no `description` in it",
    ),
}


@pytest.mark.parametrize(("name", "text", "path", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_text_is_refused_at_its_line(name: str, text: str, path: str, said: str) -> None:
    with pytest.raises(PromptFileError) as caught:
        source(name, path).read(text.encode(), name=name)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("written", "steps"),
    [
        ("triage.system", ("triage", "system")),
        ("prompts[0].text", ("prompts", 0, "text")),
        ('"v1.2".text', ("v1.2", "text")),
        ("a.'b c'[1]", ("a", "b c", 1)),
        ("""a["b.c"]['d'].e""", ("a", "b.c", "d", "e")),
        ("[0]", (0,)),
    ],
)
def test_a_path_is_keys_and_items(written: str, steps: tuple[str | int, ...]) -> None:
    path = KeyPath.parse(written)
    assert path.steps == steps
    assert KeyPath.parse(str(path)) == path


@pytest.mark.parametrize(
    "written", ["", "a..b", ".a", "a.", "a[b]", "a[", 'a"b"', "[0]a", 'a.["b"]', 'a["b]']
)
def test_what_is_no_path_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="accepted are keys with dots"):
        KeyPath.parse(written)


def test_the_same_place_has_one_name() -> None:
    """Else the same prompt would be two, which undo each other's texts."""
    addresses = [
        source_of(Address.parse(f"a.yaml::{each}"))[1] for each in ("'a'.b[0]", 'a."b"[0]', "a.b[0]")
    ]
    assert {str(address) for address in addresses} == {"a.yaml::a.b[0]"}


def test_an_item_may_be_named_like_a_key() -> None:
    assert source("a.yaml", "a.1").read(b"a: [x, yy]\n", name="a.yaml").prose == "yy"


def test_no_way_to_write_a_text_is_taken_without_a_look() -> None:
    """A scalar offers what may be no YAML at all: the reader decides."""
    scalar = Scalar("s: x", 3, 4, 2, "\n")
    assert "s: it is: so" not in list(scalar.rewritten("it is: so"))
    assert next(scalar.rewritten("so it is")) == "s: so it is"
