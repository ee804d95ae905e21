"""Nunjucks: what is rendered is what Nunjucks 3.2.4 renders; what it would render otherwise is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.errors import PromptFileError, RenderError
from pytest_promptopt.prompts.template_languages import NUNJUCKS
from pytest_promptopt.prompts.template_languages.javascript_values import NotTheSame, json_text, number_text
from pytest_promptopt.prompts.template_languages.nunjucks import render_text

VALUES: dict[str, Any] = {
    "name": "Ann Lee", "n": 3, "f": 2.5, "one": 1.0, "big": 1e21, "small": 1e-7, "t": True, "no": False,
    "nil": None, "e": "", "l": ["a", "B", "c"], "nums": [3, 1, 2], "mix": [1, None, True, "x", [2, 3]],
    "el": [], "ed": {}, "d": {"k": "v", "z": [1, 2.0]}, "html": '<b>&"', "emo": "a\U0001f600b",
    "multi": "l1\nl2\n\nl3",
    "users": [{"name": "bob", "age": 4}, {"name": "Al", "age": 10}],
}  # fmt: skip

#: Rendered by nunjucks 3.2.4 with `autoescape: false`.
RENDERED = [
    ("{{ name }}, {{ missing }}, {{ missing.a.b }}", "Ann Lee, , "),
    ("{{ nil }}|{{ t }}|{{ no }}|{{ one }}|{{ f }}|{{ big }}|{{ small }}", "|true|false|1|2.5|1e+21|1e-7"),
    ("{{ l }}|{{ mix }}|{{ d }}|{{ el }}", "a,B,c|1,,true,x,2,3|[object Object]|"),
    ("{{ html }}|{{ html | safe }}", '<b>&"|<b>&"'),
    ('{{ d.k }}{{ d["z"][1] }}{{ d.z[9] }}{{ l.length }}{{ emo.length }}', "v234"),
    (
        "{% if el %}list{% endif %}{% if ed %}map{% endif %}{% if e or n - 3 %}no{% else %}yes{% endif %}",
        "listmapyes",
    ),
    ("{% for x in l %}{{ loop.index }}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}", "1a,2B,3c"),
    (
        "{% for k, v in d %}{{ k }}={{ v }};{% endfor %}{% for x in d %}{{ x }}{% else %}none{% endfor %}",
        "k=v;z=1,2;none",
    ),
    ("{%- if t -%}  x  {%- endif -%}  y {#- c -#} z", "xyz"),
    ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
    (
        '{{ "a" ~ n ~ nil ~ missing }}|{{ n + 1 }}|{{ "1" + n }}|{{ n / 2 }}|{{ 0.1 + 0.2 }}',
        "a3nullundefined|4|13|1.5|0.30000000000000004",
    ),
    (
        '{{ n == 3 }}{{ "a" < "B" }}{{ nil == missing }}{{ nil == false }}{{ "a" in l }}{{ "k" in d }}',
        "truefalsetruefalsetruetrue",
    ),
    (
        '{{ name | upper }}|{{ name | title }}|{{ missing | upper }}|{{ "x" | capitalize }}',
        "ANN LEE|Ann Lee||X",
    ),
    (
        '{{ missing | default("d") }}{{ nil | default("d") }}{{ e | default("d") }}{{ e | d("d", true) }}',
        "dd",
    ),
    ('{{ l | join }}|{{ l | join(", ") }}|{{ users | join("-", "name") }}', "aBc|a, B, c|bob-Al"),
    ("{{ l | length }}{{ d | length }}{{ emo | length }}{{ nil | length }}", "3240"),
    (
        "{{ d | dump }}|{{ mix | dump }}|{{ d | dump(2) }}",
        '{"k":"v","z":[1,2]}|[1,null,true,"x",[2,3]]|{\n  "k": "v",\n  "z": [\n    1,\n    2\n  ]\n}',
    ),
    ('{{ name | replace("n", "m") }}|{{ name | replace("n", "m", 1) }}', "Amm Lee|Amn Lee"),
    (
        "{{ l | first }}{{ l | last }}{{ el | first }}{{ l | reverse }}{{ l | sort }}{{ nums | sort }}",
        "acc,B,aa,B,c1,2,3",
    ),
    ('{{ f | round }}{{ 2.567 | round(2) }}{{ -2.5 | round }}{{ 2.1 | round(0, "ceil") }}', "32.57-23"),
    ("{{ multi | indent(2) }}|{{ e | indent(2, true) }}|", "l1\n  l2\n  \n  l3||"),
    (
        '{{ name if t else "x" }}{{ name if no }}{{ t and name }}{{ no or name }}{{ not el }}',
        "Ann LeeAnn LeeAnn Leefalse",
    ),
    (
        "{{ name is defined }}{{ missing is defined }}{{ nil is none }}{{ missing is not defined }}",
        "truefalsetruetrue",
    ),
    ("{% set x = 5 %}{{ x }}{% set y %}in{{ n }}{% endset %}{{ y }}", "5in3"),
    ('{{ none }}{{ null }}{{ true }}{{ "q\\n\\"z\\" \\\\ \\\'" }}', 'trueq\n"z" \\ \''),
    ('{{ [1, 2, "a"] }}{{ 1.50 }}{{ 1.0 }}', "1,2,a1.51"),
]


@pytest.mark.parametrize(("template", "text"), RENDERED)
def test_a_text_is_the_one_that_nunjucks_renders(template: str, text: str) -> None:
    assert render_text(template, VALUES, name="p", line=1) == text


#: Nunjucks renders another text for these than Jinja2, or none, or it cannot be told.
REFUSED = {
    "{{ name | wordcount }}": "the filter `wordcount` is not followed",
    "{{ 7 // 2 }}": "the operator // is not followed",
    "{{ 7 % 2 }}": "the operator % is not followed",
    "{{ 1 < 2 < 3 }}": "a chain of comparisons is not followed",
    "{{ 2 * 3 / 2 }}": "which operator binds tighter differs",
    "{{ 'a' ~ 1 + 2 }}": "which operator binds tighter differs",
    "{{ not n == 3 }}": "`not` is followed for a variable",
    "{{ name.upper() }}": "a call in an expression is not followed",
    "{{ range(3) }}": "a call in an expression is not followed",
    "{{ d.constructor }}": "`.constructor` is not followed",
    "{{ True }}": "`True` is a variable in Nunjucks; write `true`",
    "{{ name | replace(r/n/g, 'm') }}": "regular expressions are not followed",
    "{{ 'a\\qb' }}": "the escape in 'a\\qb' is not followed",
    "{{ l.0 }}": "an item by its number is written [0]",
    "{{ env.HOME }}": "`env` takes values from the environment",
    "{{ n is odd }}": "the test `is odd` is not followed here",
    "{{ loop }}{% for x in l %}{{ loop }}{% endfor %}": "`loop` is followed as loop.index",
    "{% set x = 1 %}{% for i in l %}{% set x = 2 %}{% endfor %}": "sets another variable in Nunjucks",
    "{% for x in l if x %}{% endfor %}": "`{% for %}` with `if`",
    "{% include 'x' %}": "`{% include %}` is not followed",
    "{% macro m() %}{% endmacro %}": "`{% macro %}` is not followed",
    "{% raw %}{% raw %}{% endraw %}": "{% raw %} in {% raw %} is not followed",
    "{%- raw -%}{% endraw %}": "write {% raw %} and {% endraw %}",
    "a #} b": "`#}` ends no comment",
    "a\x85b": "the character U+0085 may be a space or not",
}


@pytest.mark.parametrize(("template", "said"), REFUSED.items())
def test_what_nunjucks_would_render_otherwise_is_refused_with_its_line(template: str, said: str) -> None:
    with pytest.raises(PromptFileError) as caught:
        render_text("\n" + template, VALUES, name="p.txt", line=3)
    assert str(caught.value).startswith("p.txt:4: ")
    assert said in str(caught.value)


#: These depend on the values.
UNRENDERABLE = {
    "{{ n | upper }}": "the filter `upper` works on a text",
    '{{ n == "3" }}': "JavaScript converts '3' and '3' before it compares them",
    "{{ l.map }}": "`map` of a list is not followed",
    "{{ emo | first }}": "JavaScript takes a character beyond U+FFFF for two",
    "{{ n / 0 }}": "it divides by zero",
    "{{ huge }}": "is more than a JavaScript number can hold exactly",
    "{% for k, v in numbered %}{% endfor %}": "the key '1' is a number, which",
}


@pytest.mark.parametrize(("template", "said"), UNRENDERABLE.items())
def test_values_that_javascript_treats_otherwise_are_refused(template: str, said: str) -> None:
    with pytest.raises(RenderError) as caught:
        render_text(template, {**VALUES, "huge": 10**17, "numbered": {"b": 1, "1": 2}}, name="p", line=1)
    assert said in str(caught.value)


def test_a_loop_over_loops_ends() -> None:
    letters = "x" * 10_000
    with pytest.raises(RenderError, match="the text grows beyond"):
        render_text("{% for a in l %}{% for b in l %}{{ a }}{{ b }}{% endfor %}{% endfor %}", {"l": letters},
                    name="p", line=1)  # fmt: skip


class TestAPrompt:
    def read(self, source: str, **values: object) -> str:
        return NUNJUCKS.read(source, name="p", line=1).render(values)

    def test_of_json_is_filled_in_text_by_text(self) -> None:
        source = '[{"role": "user", "content": "{{ q }}"}, {"n": 1.0, "e": [], "t": true}]'
        assert self.read(source, q='say "hi"\n') == (
            '[\n  {\n    "role": "user",\n    "content": "say \\"hi\\"\\n"\n  },\n'
            '  {\n    "n": 1,\n    "e": [],\n    "t": true\n  }\n]'
        )

    @pytest.mark.parametrize("source", ["a {{ b", "{% if x\n%}a{% endif %}", "{{\n b }}", "a {#\nb"])
    def test_with_a_tag_that_is_open_at_the_end_of_a_line_is_sent_as_it_stands(self, source: str) -> None:
        assert self.read(source, b="B", x=True) == source

    def test_with_an_open_tag_and_half_a_raw_block_is_refused(self) -> None:
        with pytest.raises(PromptFileError, match="a tag is open at the end of a line, beside"):
            self.read("{% endraw %} {{ b")

    def test_names_its_variables_and_needs_none(self) -> None:
        template = NUNJUCKS.read(
            "{{ a }}\n{% for x in b %}{{ x.y }}{{ loop.index }}{% endfor %}", name="p", line=5
        )
        assert template.variables == {"a": 5, "b": 6}
        assert template.needed == frozenset()
        assert template.render({}) == "\n"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_back_as_the_same(number: float) -> None:
    assert float(number_text(number)) == number


NUMBERS = {
    1e21: "1e+21",
    1e-6: "0.000001",
    1.5e-7: "1.5e-7",
    123456789012345680000.0: "123456789012345680000",
    -3.25: "-3.25",
    5e-324: "5e-324",
    math.inf: "Infinity",
    -0.0: "0",
    100: "100",
}


@pytest.mark.parametrize(("number", "text"), NUMBERS.items())
def test_numbers_are_written_as_javascript_writes_them(number: float, text: str) -> None:
    assert number_text(number) == text


SCALARS = st.none() | st.booleans() | st.integers(-1000, 1000) | st.text()
KEYS = st.text("abc", max_size=2)


@given(
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
    )
)
def test_json_is_written_so_that_it_reads_back(value: Any) -> None:
    try:
        written = json_text(value), json_text(value, indent=2)
    except NotTheSame:  # half a surrogate pair
        return
    assert [json.loads(each) for each in written] == [value, value]
    assert written[1] == json.dumps(value, indent=2, ensure_ascii=False)
