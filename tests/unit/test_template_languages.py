"""Every template language: the parts of a text, its rendering, its escaping; candidates reach nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_promptopt.errors import PromptFileError, RenderError
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.template_languages import LANGUAGES, Fixed, Opaque, Part, Variable
from tests.written_prompts import RENDERERS, VALUES, Written, can_be_written, written

NAMES = sorted(LANGUAGES)


def parts(language: str, source: str) -> tuple[Part, ...]:
    return LANGUAGES[language].read(source, name="route.md", line=3).parts


def rendered(language: str, source: str, **values: object) -> str:
    return LANGUAGES[language].read(source, name="route.md", line=3).render(values)


def unreadable(language: str, source: str) -> str:
    with pytest.raises(PromptFileError) as caught:
        parts(language, source)
    return str(caught.value)


def unrenderable(language: str, source: str, **values: object) -> str:
    with pytest.raises(RenderError) as caught:
        rendered(language, source, **values)
    return str(caught.value)


X, Y = Variable("x"), Variable("y")

PARTS = {
    "jinja2": ("A {{ x }}{# no #}, {{y}}{{ '{' }}", (Fixed("A "), X, Fixed(", "), Y, Fixed("{"))),
    "format": ("A {{ {x}, {y}", (Fixed("A { "), X, Fixed(", "), Y)),
    "format without names": ("{}, {}", (Variable("0"), Fixed(", "), Variable("1"))),
    "percent": ("A %% %(x)s, %(y)s", (Fixed("A % "), X, Fixed(", "), Y)),
    "percent without names": ("%s, %s", (Variable("0"), Fixed(", "), Variable("1"))),
    "template": ("A $$5 $x, ${y}! $5", (Fixed("A $5 "), X, Fixed(", "), Y, Fixed("! $5"))),
    "mustache": ("A {{x}}{{! no }}, {{{ y }}} {{& x}}", (Fixed("A "), X, Fixed(", "), Y, Fixed(" "), X)),
    "mustache escaped": (r"\{{x}} {{x}}", (Fixed("{{x}} "), X)),
    "mustache lines of tags": (
        "A\n  {{! no }} \n{{x}}\n{{!-- a }} b --}}\n\n{{#x}}\n{{y}}\n{{/x}}\nB",
        (Fixed("A\n"), X, Fixed("\n\n"), Opaque("{{#x}}\n{{y}}\n{{/x}}", ""), Fixed("B")),
    ),
    "mustache beside text": (
        "A\n{{! no }} b\n{{#x}}1{{/x}}\nB",
        (Fixed("A\n b\n"), Opaque("{{#x}}1{{/x}}", ""), Fixed("\nB")),
    ),
    "mustache without blanks": ("A {{~x}} \n{{~! no ~}}\n B{{y~}}\n", (Fixed("A"), X, Fixed("B"), Y)),
    "none": ("A {x} {{ y }} $x %s", (Fixed("A {x} {{ y }} $x %s"),)),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "source", "wanted"), [(k, *v) for k, v in PARTS.items()], ids=PARTS)
def test_the_parts_of_a_text(kind: str, source: str, wanted: tuple[Part, ...]) -> None:
    assert parts(kind.partition(" ")[0], source) == wanted


NOT_EXACT = {
    "jinja2 filter": ("jinja2", "{{ x|upper }}"),
    "jinja2 attribute": ("jinja2", "{{ x.name }}"),
    "format spec": ("format", "{x:>10}"),
    "format conversion": ("format", "{x!r}"),
    "format attribute": ("format", "{x.name[0]}"),
    "percent number": ("percent", "%(x)5.2f"),
    "mustache path": ("mustache", "{{x.name}}"),
}


@pytest.mark.parametrize(("language", "source"), NOT_EXACT.values(), ids=NOT_EXACT)
def test_a_place_with_another_form_of_a_value_is_not_exact(language: str, source: str) -> None:
    (part,) = parts(language, source)
    assert isinstance(part, Variable)
    assert (part.name, part.exact) == ("x", False)


def test_two_forms_of_a_value_are_two_places() -> None:
    assert parts("format", "{x:>3}") != parts("format", "{x:<3}")
    assert parts("mustache", "{{x}}") == parts("mustache", "{{{x}}}")


OPAQUE = {
    "loop": ("jinja2", "{% for d in x %}{{ d }}{% endfor %}"),
    "condition": ("jinja2", "{% if x %}A{% endif %}"),
    "expression": ("jinja2", "{{ x + y }}"),
    "section": ("mustache", "{{#x}}A{{/x}}"),
    "inverted section": ("mustache", "{{^x}}A{{/x}}"),
    "block": ("mustache", "{{#if x}}A{{else}}B{{/if}}"),
    "nested": ("mustache", "{{#x}}{{#x}}A{{/x}}{{/x}}"),
    "helper": ("mustache", "{{upper x}}"),
}


@pytest.mark.parametrize(("language", "source"), OPAQUE.values(), ids=OPAQUE)
def test_what_depends_on_more_than_one_value_is_opaque(language: str, source: str) -> None:
    (part,) = parts(language, source)
    assert isinstance(part, Opaque)
    assert "x" in part.names


UNREADABLE = {
    "format open": ("format", "a\n{x", 4, "expected '}' before end of string"),
    "format closed": ("format", "a }", 3, "Single '}' encountered in format string"),
    "format field": ("format", "{a b}", 3, "{a b} is no field that str.format can fill"),
    "format nested": ("format", "{x:{y}}", 3, "a field within the field {x:{y}} is not supported"),
    "format mixed": ("format", "{} {0}", 3, "fields {} and numbered fields {0} do not go together"),
    "percent": ("percent", "\n5%", 4, "a literal % is written %%; '%' is no field"),
    "percent width": ("percent", "%*d", 3, "a width that is given, %*d, is not supported"),
    "percent mixed": ("percent", "%s %(x)s", 3, "fields with names and fields without do not go together"),
    "mustache open": ("mustache", "{{x", 3, "this tag is not closed by }}"),
    "mustache section": ("mustache", "a\n{{#x}}", 4, "the section `x` is not closed by {{/x}}"),
    "mustache end": ("mustache", "{{/x}}", 3, "{{/x}}: this section was not opened"),
    "mustache other file": ("mustache", "{{>x}}", 3, "{{>x}}: parts of other files are not supported"),
    "mustache delimiters": ("mustache", "{{=< >=}}", 3, "{{=< >=}}: other delimiters are not supported"),
    "mustache empty": ("mustache", "{{ }}", 3, "{{ }}: there is no name"),
}


@pytest.mark.parametrize(("language", "source", "line", "said"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_told_at_its_line(language: str, source: str, line: int, said: str) -> None:
    assert unreadable(language, source) == f"route.md:{line}: template syntax error: {said}"
    assert not LANGUAGES[language].is_whole(source)


class Inside:
    """Something of the process."""

    secret = "key"

    def __format__(self, spec: str) -> str:
        return f"ran {spec}"

    def __str__(self) -> str:
        return "its text"


class TestNothingOfTheProcessIsReached:
    @pytest.mark.parametrize(
        "source", ["{x.__class__}", "{x.secret}", "{x.__class__.__mro__[1]}", "{x[0].y}"]
    )
    def test_attributes_are_not_looked_up(self, source: str) -> None:
        said = unrenderable("format", source, x=Inside())
        assert "are not looked up" in said or "takes an item of a dict or a list" in said
        assert "key" not in said

    def test_items_are_of_plain_data_only(self) -> None:
        assert rendered("format", "{x[a]} {y[1]}", x={"a": 1}, y=[2, 3]) == "1 3"
        assert unrenderable("format", "{x[a]}", x=Inside()) == (
            "route.md:3: cannot be rendered: ValueError: [a] takes an item of a dict or a list, got Inside"
        )

    def test_no_format_is_given_to_an_object(self) -> None:
        assert rendered("format", "{x:>10}", x=Inside()) == "  its text"
        assert rendered("format", "{x:.2f}", x=1.5) == "1.50"
        assert rendered("format", "{x:%H:%M}", x=datetime(2026, 1, 2, 3, 4, tzinfo=UTC)) == "03:04"

    def test_mustache_takes_items_of_plain_data_only(self) -> None:
        assert rendered("mustache", "{{x.a}}", x={"a": "<1>"}) == "<1>"
        assert "takes an item of a dict, got Inside" in unrenderable("mustache", "{{x.secret}}", x=Inside())

    @pytest.mark.parametrize(
        ("language", "source"), [("format", "{x:>999999999}"), ("percent", "%(x)999999999d")]
    )
    def test_a_width_has_a_limit(self, language: str, source: str) -> None:
        assert unrenderable(language, "\n" + source, x=1) == (
            "route.md:4: cannot be rendered: ValueError: a width of more than 100,000"
        )

    def test_values_are_never_templates(self) -> None:
        for language in set(LANGUAGES) - {"none"}:
            for value in ("{{ y }}", "{y}", "%(y)s", "$y"):
                assert rendered(language, LANGUAGES[language].written("x"), x=value) == value


class TestRenderingFails:
    @pytest.mark.parametrize("language", ["format", "percent", "template", "mustache"])
    def test_with_a_value_that_is_missing(self, language: str) -> None:
        source = "\n" + LANGUAGES[language].written("x")
        assert unrenderable(language, source) == (
            "route.md:4: cannot be rendered: LookupError: `x` is not given"
        )

    def test_with_a_section(self) -> None:
        assert "the section {{#x}} is not supported: only variables" in unrenderable(
            "mustache", "{{#x}}A{{/x}}", x=True
        )

    def test_with_a_value_of_another_kind(self) -> None:
        assert unrenderable("percent", "%(x)d", x="many").startswith(
            "route.md:3: cannot be rendered: TypeError: "
        )


class TestAnyText:
    @given(st.sampled_from(NAMES), st.text())
    def test_is_escaped_so_that_it_opens_nothing(self, language: str, text: str) -> None:
        assume(can_be_written(language, text))
        source = LANGUAGES[language].escaped(text)
        assert all(isinstance(part, Fixed) for part in parts(language, source))
        # Jinja2 reads each line end as \n, and so does a prompt file.
        text = text.replace("\r\n", "\n").replace("\r", "\n") if language == "jinja2" else text
        assert rendered(language, source) == text

    @given(st.sampled_from(NAMES), st.text("{}%$()#^/x0s:.![] \\", max_size=12))
    def test_is_read_or_refused(self, language: str, source: str) -> None:
        try:
            template = LANGUAGES[language].read(source, name="route.md", line=1)
        except PromptFileError:
            return
        assert not any(isinstance(each, Fixed) and not each.text for each in template.parts)
        used = {name for each in template.parts for name in names_of(each)}
        assert used == template.variables.keys()

    @given(st.sampled_from(NAMES).flatmap(written), VALUES)
    def test_is_rendered_as_applications_do(self, prompt: Written, values: Mapping[str, str]) -> None:
        assume(not prompt.has_sections)  # which are not rendered
        given_values = {name: values[name] for name in prompt.names}
        assert rendered(prompt.language, prompt.source, **given_values) == prompt.rendered(values)


def names_of(part: Part) -> set[str]:
    if isinstance(part, Variable):
        return {part.name}
    return set(part.names) if isinstance(part, Opaque) else set()


def test_each_language_has_a_renderer_of_an_application() -> None:
    assert RENDERERS.keys() == LANGUAGES.keys()


# ------------------------------------------------------------------------------------------- prompt files


def load(tmp_path: Path, text: str, language: str) -> PromptFile:
    path = tmp_path / "route.md"
    path.write_text(text, encoding="utf-8")
    return PromptFile.load(path, rootdir=tmp_path, language=LANGUAGES[language])


FIELDS = {
    name: LANGUAGES[name].written("ticket")
    for name in ("format", "percent", "template", "mustache", "jinja2")
}


@pytest.mark.parametrize("language", FIELDS)
class TestAPromptFileInThisLanguage:
    def test_it_is_rendered(self, tmp_path: Path, language: str) -> None:
        file = load(tmp_path, f"Route this: {FIELDS[language]}\n", language)

        assert file.variables == {"ticket"}
        assert file.render({"ticket": "{{ x }} {y} $z %s"})[0].content == "Route this: {{ x }} {y} $z %s"
        with pytest.raises(RenderError, match=r"route.md:1: `ticket` not given"):
            file.render({})

    def test_what_speaks_against_a_candidate(self, tmp_path: Path, language: str) -> None:
        file, field = load(tmp_path, f"Route this: {FIELDS[language]}\n", language), FIELDS[language]
        other = LANGUAGES[language].written("other")

        assert file.objections(f"Which queue is for {field}? {field}") == ()
        assert file.objections("Which queue?") == (f"It lost the variable {field}.",)
        assert file.objections(f"{field} {other}") == (
            f"It uses the variable {other}, which the tests do not give.",
        )

    def test_placeholders_of_other_languages_stay(self, tmp_path: Path, language: str) -> None:
        other = {"format": "$labels", "template": "%(labels)s"}.get(language, "${labels}")
        escaped = other.replace("%", "%%") if language == "percent" else other
        file = load(tmp_path, f"Route {FIELDS[language]} to {escaped}\n", language)

        assert file.objections(f"Which is for {FIELDS[language]}?") == (f"It lost the placeholder {other}.",)


def test_a_candidate_adds_no_attribute_or_format(tmp_path: Path) -> None:
    file = load(tmp_path, "Route this: {ticket}\n", "format")
    assert file.objections("Which queue is for {ticket.__class__}?") == (
        "It adds the template code {ticket.__class__}; only plain variables may be added.",
    )


def test_a_candidate_that_the_language_cannot_read(tmp_path: Path) -> None:
    file = load(tmp_path, "Route this: {ticket}\n", "format")
    assert file.objections('Answer {"queue": "x"} for {ticket}')[0].startswith(
        "It is not a valid prompt: route.md:1: template syntax error: "
    )


class TestSectionsOfMustache:
    TEXT = "Sort {{ticket}}.\n{{#each queues}}\n- {{this}}\n{{/each}}\n{{^vip}}Be short.{{/vip}} {{vip}}\n"

    def test_they_are_read_and_not_rendered(self, tmp_path: Path) -> None:
        file = load(tmp_path, self.TEXT, "mustache")
        assert {"ticket", "queues", "vip"} <= file.variables
        with pytest.raises(RenderError, match=r"the section \{\{#each queues\}\} is not supported"):
            file.render(dict.fromkeys(file.variables, "x"))

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("- {{this}}", "* {{this}}"),
            ("\n- {{this}}", "- {{this}}"),
            ("{{^vip}}Be short.{{/vip}} ", ""),
            ("{{^vip}}", "{{#vip}}"),
            ("{{vip}}", "{{vip}} {{^vip}}Be short.{{/vip}}"),
        ],
    )
    def test_no_byte_of_one_may_change(self, tmp_path: Path, old: str, new: str) -> None:
        file = load(tmp_path, self.TEXT, "mustache")
        objections = file.objections(file.prose.replace("Sort", "Route").replace(old, new))
        assert objections[0].startswith("It changed, lost or repeated the section {{")

    def test_around_them_all_may(self, tmp_path: Path) -> None:
        file = load(tmp_path, self.TEXT, "mustache")
        assert (
            file.objections(f"Now {file.prose}\nThat is all.".replace("{{/each}}\n", "{{/each}}\n\n")) == ()
        )
        assert "its sections stay, add none" in file.writing_rules[0]


def test_a_prompt_without_a_language_is_sent_as_it_stands(tmp_path: Path) -> None:
    file = load(tmp_path, "Route {{ this }} {% or %} {that}\n", "none")
    assert file.render({})[0].content == "Route {{ this }} {% or %} {that}"
    assert file.variables == frozenset()
