"""Markdown with front matter of other programs, kept regions, and what no candidate may touch."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.prompts import PromptFile

SKILL = """\
---
name: sort-mail
description: Sorts mail. Use when a user has mail.
license: Apache-2.0
allowed-tools: [Read, Bash]
metadata: {version: "1.0"}
---

# Sort mail

Run `sort {{ folder }}` for $ARGUMENTS, then {% raw %} as it is.
"""


def load(folder: Path, text: str, name: str = "SKILL.md", inner: str = "") -> PromptFile:
    path = folder / name
    path.write_bytes(text.encode())
    return PromptFile.load(f"{path}{inner}", rootdir=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("skills")


class TestSkills:
    def test_a_skill_is_a_prompt_without_a_template_language(self, tmp_path: Path) -> None:
        file = load(tmp_path, SKILL)
        assert file.language.name == "none"
        assert (file.variables, file.hints) == (frozenset(), ())
        assert file.front.description == "Sorts mail. Use when a user has mail."
        turns = file.render({}, messages=[{"role": "user", "content": "Hi"}])
        assert turns[0].content == file.prose, "nothing in it is filled in"

    def test_its_front_matter_stays_byte_for_byte(self, tmp_path: Path) -> None:
        file = load(tmp_path, SKILL.replace("\n", "\r\n"))
        changed = file.with_prose(f"{file.prose}\n\nBe quick.").content().decode()
        assert changed == SKILL.replace("\n", "\r\n") + "\r\nBe quick.\r\n"

    def test_its_description_can_be_the_prompt(self, tmp_path: Path) -> None:
        file = load(tmp_path, SKILL, inner="::description")
        assert file.name == "SKILL.md::description"
        assert file.prose == "Sorts mail. Use when a user has mail."
        changed = file.with_prose("Sorts mail: all of it.").content().decode()
        assert changed == SKILL.replace("Sorts mail. Use when a user has mail.", '"Sorts mail: all of it."')

    def test_a_longer_description_than_a_skill_may_have_is_refused(self, tmp_path: Path) -> None:
        file = load(tmp_path, SKILL, inner="::description")
        assert file.objections("x" * 1025) == ("It has 1,025 characters; at most 1,024 are accepted.",)
        assert "It has at most 1,024 characters." in file.writing_rules

    @settings(max_examples=100, deadline=None)
    @given(
        text=st.text(st.characters(codec="utf-8"), max_size=60), inner=st.sampled_from(["", "::description"])
    )
    def test_whatever_is_written_the_rest_stays(self, folder: Path, text: str, inner: str) -> None:
        file = load(folder, SKILL, inner=inner)
        try:
            changed = file.with_prose(text)
        except PromptFileError:
            assert not inner or not text.strip()
            return
        again = file.read_again(before=changed.content())
        assert again.prose == changed.prose
        body, description = (load(folder, SKILL, inner=each) for each in ("", "::description"))
        other = description if not inner else body
        assert other.read_again(before=changed.content()).prose == other.prose

    def test_agents_read_other_files_as_they_stand_too(self, tmp_path: Path) -> None:
        assert load(tmp_path, "# Rules\n\n{{ none }}\n", name="AGENTS.md").variables == frozenset()

    def test_a_skill_may_say_that_it_is_a_template(self, tmp_path: Path) -> None:
        file = load(tmp_path, "---\nname: a\ntemplate: jinja2\n---\nSort {{ folder }}\n")
        assert file.variables == {"folder"}

    def test_another_program_s_name_of_a_model_is_passed_over(self, tmp_path: Path) -> None:
        file = load(tmp_path, "---\nname: a\nmodel: sonnet\n---\nSort.\n")
        assert file.front.model is None
        assert file.hints == (
            "SKILL.md:3: `model: sonnet` is another program's name of a model and is passed over",
        )


class TestForeignKeys:
    def test_they_pass_through(self, tmp_path: Path) -> None:
        file = load(
            tmp_path, "---\ntitle: Route\nmodel: demo\nmode: agent\n---\nRoute {{ it }}\n", name="a.md"
        )
        assert file.variables == {"it"}
        assert (file.front.model, file.hints) == ("demo", ())

    @pytest.mark.parametrize(
        ("key", "said"),
        [
            ("modle", "`modle` is passed over; did you mean `model`?"),
            ("max-tokens", "`max-tokens` is passed over; did you mean `max_tokens`?"),
            ("Temperature", "`Temperature` is passed over; did you mean `temperature`?"),
            ("top_p", "`top_p` is passed over: parameters of a model go below `parameters:`"),
        ],
    )
    def test_what_is_nearly_ours_is_said(self, tmp_path: Path, key: str, said: str) -> None:
        file = load(tmp_path, f"---\nmodel: demo\n{key}: 1\n---\nRoute.\n", name="a.md")
        assert file.hints == (f"a.md:3: {said}",)

    def test_ours_are_still_checked(self, tmp_path: Path) -> None:
        with pytest.raises(PromptFileError, match=r"a\.md:3: `max_tokens` must be a whole number from 1"):
            load(tmp_path, "---\ntitle: x\nmax_tokens: many\n---\nRoute.\n", name="a.md")
        with pytest.raises(PromptFileError, match=r"a\.md:2: `template` must be one of jinja2, format"):
            load(tmp_path, "---\ntemplate: erb\n---\nRoute.\n", name="a.md")


class TestKeptRegions:
    TEXT = "Sort.\n<!-- promptopt: keep -->\nNever say {{ it }}.\n<!-- /promptopt -->\nEnd.\n"

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            (
                "Never",
                "Always",
                "It changed the kept region '<!-- promptopt: keep --> Never say {{ it }}. <!-- ",
            ),
            ("say {{", "say  {{", "It changed the kept region"),
            (
                "<!-- /promptopt -->\n",
                "",
                "It has a wrong mark of a region: <!-- promptopt: keep --> is not closed",
            ),
            ("Sort.", "<!-- promptopt: keep -->x<!-- /promptopt --> Sort.", "It moved, repeated or added"),
        ],
    )
    def test_no_byte_in_one_may_change(self, tmp_path: Path, old: str, new: str, said: str) -> None:
        file = load(tmp_path, self.TEXT, name="a.md")
        candidate = file.prose.replace(old, new).replace("End.", "Over.")
        assert any(each.startswith(said) for each in file.objections(candidate))

    def test_around_it_everything_may(self, tmp_path: Path) -> None:
        file = load(tmp_path, self.TEXT, name="a.md")
        assert file.objections(file.prose.replace("Sort.", "Sort it.").replace("End.", "Over.")) == ()
        assert file.writing_rules == (
            "Keep what stands between `promptopt: keep` and `/promptopt` as it is, marks and all.",
        )

    def test_comments_of_jinja_mark_one_that_the_model_does_not_see(self, tmp_path: Path) -> None:
        text = "Sort {{ it }}.\n{# promptopt: keep #}Never.{# /promptopt #}\n"
        file = load(tmp_path, text, name="a.md")
        assert file.objections(file.prose.replace("Never", "Always"))
        assert file.render({"it": "x"})[0].content == "Sort x.\nNever."

    @pytest.mark.parametrize(
        ("begin", "end", "sent"),
        [
            ("{{! promptopt: keep }}", "{{! /promptopt }}", "Sort x.\nNever.\nEnd."),
            ("{{!-- promptopt: keep --}}", "{{!-- /promptopt --}}", "Sort x.\nNever.\nEnd."),
            ("{{~! promptopt:keep ~}}", "{{!--/promptopt--~}}", "Sort x.Never.\nEnd."),
        ],
    )
    def test_comments_of_mustache_do_too(self, tmp_path: Path, begin: str, end: str, sent: str) -> None:
        text = f"---\ntemplate: mustache\n---\nSort {{{{it}}}}.\n{begin}\nNever.\n{end}\nEnd.\n"
        file = load(tmp_path, text, name="a.md")
        assert file.objections(file.prose.replace("Never", "Always"))[0].startswith("It changed the kept")
        assert file.objections(file.prose.replace("End", "Over")) == ()
        assert file.render({"it": "x"})[0].content == sent, "no line is left where a mark was"

    def test_a_constant_with_such_marks_is_seen_to_be_mustache(self, tmp_path: Path) -> None:
        module = 'P = """Sort {{it}}.\n{{!-- promptopt: keep --}}\nNever.\n{{!-- /promptopt --}}"""\n'
        assert load(tmp_path, module, name="app.py", inner="::P").language.name == "mustache"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (
                "---\ntemplate: mustache\n---\nx\n{{! promptopt: keep }}\n",
                "a.md:5: {{! promptopt: keep }} is not closed by {{! /promptopt }}",
            ),
            ("x {# promptopt: keep #}\n", r"a.md:1: {# promptopt: keep #} is not closed by {# /promptopt #}"),
            ("<!-- promptopt: keep -->\nx\n", "a.md:1: <!-- promptopt: keep --> is not closed"),
            ("x\n<!-- /promptopt -->\n", "a.md:2: <!-- /promptopt --> closes no region"),
            ("<!-- promptopt: keep -->\n<!-- promptopt: keep -->\n", "a.md:2: .* stands within a region"),
            ("<!-- promptopt: keep -->\n{# /promptopt #}\n", "a.md:2: .*both must be written alike"),
        ],
    )
    def test_marks_that_do_not_go_in_pairs_are_refused(self, tmp_path: Path, text: str, said: str) -> None:
        with pytest.raises(PromptFileError, match=said):
            load(tmp_path, text, name="a.md")

    def test_a_constant_has_them_too(self, tmp_path: Path) -> None:
        module = 'P = """Sort {it}.\n<!-- promptopt: keep -->Never.<!-- /promptopt -->"""\n'
        file = load(tmp_path, module, name="app.py", inner="::P")
        assert "kept region" in file.objections(file.prose.replace("Never", "Always"))[0]


#: A text of each template language, one that lost its variable, one that got a field of another language.
PROTECTED = {
    "jinja2": ("Sort {{ it }} by {labels}.", "Sort {{ it }}.", "Sort {{ it }} by {labels}, {tone}."),
    "format": (
        "Sort {it} by {{{{ labels }}}}.",
        "Sort {it}.",
        "Sort {it} by {{{{ labels }}}} {{{{ tone }}}}.",
    ),
    "percent": ("Sort %(it)s by $labels.", "Sort %(it)s.", "Sort %(it)s by $labels $tone."),
    "template": ("Sort $it by {labels}.", "Sort $it.", "Sort $it by {labels} {tone}."),
    "mustache": ("Sort {{it}} by %(labels)s.", "Sort {{it}}.", "Sort {{it}} by %(labels)s %(tone)s."),
    "none": ("Sort it by {{ labels }}.", "Sort it.", "Sort it by {{ labels }} {{ tone }}."),
}


@pytest.mark.parametrize("language", PROTECTED)
def test_placeholders_of_other_languages_are_protected(tmp_path: Path, language: str) -> None:
    text, lost, added = PROTECTED[language]
    file = load(tmp_path, f"---\ntemplate: {language}\n---\n{text}\n", name="a.md")
    assert [each for each in file.objections(f"{lost} Now.") if "lost the placeholder" in each]
    assert [each for each in file.objections(added) if "adds the placeholder" in each and "tone" in each]
    assert file.objections(f"{text} Now.") == ()


@pytest.mark.parametrize(
    ("language", "written"),
    [
        ("jinja2", "{{ it }}"),
        ("format", "{it}"),
        ("percent", "%(it)s"),
        ("template", "${it}"),
        ("mustache", "{{it}}"),
    ],
)
def test_variables_of_its_own_language_are(tmp_path: Path, language: str, written: str) -> None:
    file = load(tmp_path, f"---\ntemplate: {language}\n---\nSort {written} now.\n", name="a.md")
    assert file.variables == {"it"}
    assert file.objections("Sort now, all.") == (f"It lost the variable {written}.",)


def test_a_variable_in_another_language_would_stay_empty(tmp_path: Path) -> None:
    file = load(tmp_path, "Sort {{ it }}.\n", name="a.md")
    assert file.objections("Sort {{ it }}, that is {it}.") == (
        "It adds the placeholder {it}, which nobody fills in.",
    )
    assert file.objections('Sort {{ it }}, answer {"label": 1} or {label}.') == ()
