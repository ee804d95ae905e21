"""Whatever a template holds, rendering it ends: soon, in bounded memory, with the line of the file."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_promptopt.errors import PromptFileError, RenderError
from pytest_promptopt.prompts import PromptFile, sandbox


def growing(first: str, operation: str) -> str:
    """A value to which the same is done in every round of a loop."""
    start, step = f"{{% set n = namespace(x={first}) %}}", f"{{% set n.x = n.x {operation} %}}"
    return f"{start}{{% for i in range(99) %}}{step}{{% endfor %}}"


BOMBS = {
    "range": "{% for i in range(10**9) %}{% endfor %}",
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "loop and state": "{% for i in range(99999) %}{% for j in range(9999) if loop %}{% endfor %}{% endfor %}",
    "macro that calls itself twice": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}"
    ),
    "recursive loop": (
        "{% for x in [[[[[[1] * 99] * 99] * 99] * 99] * 99] recursive %}"
        "{% if x is iterable %}{{ loop(x) }}{% endif %}{% endfor %}"
    ),
    "repeated": "{{ 'x' * 10**10 }}",
    "list repeated": "{{ ([0] * 10**10) | length }}",
    "power": "{{ 9 ** 99999999 }}",
    "product": growing("9", "* n.x"),
    "doubled by +": growing("'a'", "+ n.x"),
    "doubled by ~": growing("'a'", "~ n.x"),
    "doubled list": growing("[1]", "+ n.x"),
    "doubled in blocks": "{% set a %}xxxxxxxxxx{% endset %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 60,
    "width of a filter": "{{ 'x' | center(10000000000) }}",
    "computed width": "{{ 'x' | center(10 ** 10) }}",
    "width of a method": "{{ 'x'.ljust(10 ** 10) }}",
    "width of bytes": "{{ 'x'.encode().ljust(10 ** 10) }}",
    "width of a format": "{{ '%9999999999d' % 1 }}",
    "width given to a format": "{{ '%*d' % (10 ** 10, 1) }}",
    "width of a named format": "{{ '%(a)9999999999d' % {'a': 1} }}",
    "format filter": "{{ '%9999999999d' | format(1) }}",
    "format method": "{{ '{:9999999999}'.format(1) }}",
    "width given to a format method": "{{ '{:{w}}'.format(1, w=10 ** 10) }}",
    "batches": "{{ [1] | batch(10 ** 10, 0) | list }}",
    "slices": "{{ [1] | slice(10 ** 10) | list }}",
    "replaced": "{{ ('x' * 100000).replace('x', 'y' * 100000) }}",
    "replace filter": "{{ ('x' * 100000) | replace('x', 'y' * 100000) }}",
    "joined": "{{ range(99999) | join('y' * 100000) }}",
    "join method": "{{ ('y' * 100000).join('x' * 100000) }}",
    "indented": "{{ ('x\n' * 100000) | indent('y' * 100000) }}",
    "translated": "{{ 'x'.translate({120: 'y'}) }}",
    "many large values": growing("[]", "+ ['x' * 9999999]"),
}


def load(folder: Path, content: str) -> PromptFile:
    (folder / "bomb.md").write_bytes(content.encode())
    return PromptFile.load(folder / "bomb.md", rootdir=folder)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_a_render_error_at_its_line(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "MAX_SECONDS", 0.3)
    with pytest.raises(RenderError, match=r"^bomb.md:\d: cannot be rendered: (Overflow|Security)Error: "):
        load(tmp_path, f"A\n{BOMBS[name]}\nB").render({})


def test_a_rendering_has_a_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        def __str__(self) -> str:
            time.sleep(0.01)
            return "slow"

    monkeypatch.setattr(sandbox, "MAX_SECONDS", 0.05)
    file = load(tmp_path, "{% for i in range(1000) %}{{ x }}{% endfor %}")
    with pytest.raises(RenderError, match=r"OverflowError: it takes more than 0\.05 seconds"):
        file.render({"x": Slow()})


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (
            "{% for x in docs %}{{ loop.index }}/{{ loop.length }} {{ x }}{% if not loop.last %}, {% endif %}"
            "{% else %}none{% endfor %}",
            "1/2 a, 2/2 b",
        ),
        ("{% for x in [] %}{% else %}none{% endfor %}", "none"),
        ("{% for x in docs if x != 'a' %}{{ x }}{% endfor %}", "b"),
        ("{% for x in [[1], [2, [3]]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}", "123"),
        (
            "{{ docs | join(', ') | upper }} {{ 'x' ~ 1 ~ docs[0] }} {{ 'ab' * 2 }} {{ 2 ** 10 + 7 % 4 }}",
            "A, B x1a abab 1027",
        ),
        (
            "{{ '%05.1f' % 3.14159 }} {{ '{:,}'.format(1234567) }} {{ '%s' | format(1234567) }}",
            "003.1 1,234,567 1234567",
        ),
        (
            "{% macro item(x) %}<{{ x }}>{% endmacro %}{{ item('a') }}{{ docs | map('upper') | list }}",
            "<a>['A', 'B']",
        ),
        ("{% set both %}{{ docs[0] }}{{ docs[1] }}{% endset %}{{ both }}{{ docs | tojson }}", 'ab["a", "b"]'),
    ],
)
def test_what_templates_do_otherwise_is_as_jinja_has_it(tmp_path: Path, template: str, text: str) -> None:
    file = load(tmp_path, template)
    (message,) = file.render({"docs": ["a", "b"]} if "docs" in file.variables else {})
    assert message.content == text


def test_a_number_in_front_matter_may_be_of_any_length(tmp_path: Path) -> None:
    for key in ("model", "max_tokens", "parameters"):
        with pytest.raises(PromptFileError, match=r"bomb\.md:2: "):
            load(tmp_path, f"---\n{key}: 0x{'f' * 9000}\n---\nx")


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    for value in ("!!python/object/apply:os.system ['touch x']", "!!python/name:os.system ''", "!own x"):
        with pytest.raises(PromptFileError, match="could not determine a constructor"):
            load(tmp_path, f"---\nparameters: {{a: {value}}}\n---\nx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prompts")


PIECES = st.sampled_from(
    [
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        " for x in ",
        " if ",
        " endfor ",
        " endif ",
        "range(9)",
        " set x = ",
        " macro m() ",
        " endmacro ",
        "x",
        "'a'",
        "99",
        "*",
        "**",
        "~",
        "|",
        "join",
        "(",
        ")",
        ".",
        "format",
        "\n",
        "system:\n",
        "user:\n",
        "raw",
        "endraw",
        "---\n",
        "loop",
        "[",
        "]",
        ",",
        "%",
        "=",
    ]
)


@settings(deadline=None)
@given(st.lists(PIECES | st.text(max_size=3), max_size=30).map("".join))
def test_any_template_is_refused_or_renders_or_says_where_it_fails(folder: Path, text: str) -> None:
    """And rewriting it with its own prose gives the same bytes."""
    try:
        file = load(folder, text)
    except PromptFileError:
        return
    assert file.with_prose(file.prose).content() == text.encode()
    with suppress(RenderError):
        file.render({name: "v" for name in file.variables})


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["model", "temperature", "max_tokens", "stop", "system", "description", "keep", "parameters", "x"]


@settings(deadline=None)
@given(VALUES, st.sampled_from(KEYS))
def test_any_front_matter_is_accepted_or_refused_at_its_line(folder: Path, value: object, key: str) -> None:
    import yaml

    text = f"---\n{yaml.safe_dump({key: value}, allow_unicode=True)}---\nText\n"
    try:
        file = load(folder, text)
    except PromptFileError as error:
        line = error.line
    else:
        line = 0
        assert file.content() == text.encode()
        assert file.with_prose("Other").content() == text.replace("Text\n", "Other\n").encode()
    assert line is not None
