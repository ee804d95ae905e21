"""A candidate is refused before it costs a call, for reasons that the optimizer can act on."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.prompts import PromptFile

ROUTE = "---\nkeep: Answer with one word.\nsystem: You serve {{ company }}.\n---\n"
TEXT = "Sort {{ ticket }}.\nAnswer with one word.\n"


def load(folder: Path, text: str) -> PromptFile:
    path = folder / "route.md"
    path.write_text(text, encoding="utf-8")
    return PromptFile.load(path, rootdir=folder)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> PromptFile:
    return load(tmp_path_factory.mktemp("prompts"), "Sort {{ x }}\n")


@pytest.fixture
def route(tmp_path: Path) -> PromptFile:
    return load(tmp_path, ROUTE + TEXT)


def test_a_better_text_with_the_same_variables_is_fine(route: PromptFile) -> None:
    assert (
        route.objections("Read this: {{ticket}}\nFor {{ company }}.\nAnswer with one word.\n{{ ticket }}")
        == ()
    )


@pytest.mark.parametrize(
    ("prose", "objection"),
    [
        ("", "It is not a valid prompt: route.md:6: the prompt is empty: there is no text below the front"),
        (" Sort  {{ ticket }}.\nAnswer with one word.", "It is the current text again."),
        ("Sort it.\nAnswer with one word.", "It lost the variable {{ ticket }}."),
        (
            TEXT + "{{ customer }}",
            "It uses the variable {{ customer }}, which the tests do not give.",
        ),
        ("Sort {{ ticket }}.\nAnswer with one word!", "It lost the line 'Answer with one word.'."),
        ("Sort: {{ ticket }}.\n Answer with one word.", "It lost the line 'Answer with one word.'."),
        ("user:\n" + TEXT, "It changed the chat roles from none to `user`."),
        (ROUTE + TEXT, "It begins with front matter; only the text below the front matter may be rewritten."),
        (TEXT + "x" * 9000, "It has 9,041 characters; at most 8,000 are accepted."),
        (TEXT + "{{ 7 *  7 }}", "It adds the template code {{ 7 * 7 }}; only plain variables may be added."),
        (
            TEXT + "{{ ticket | upper }}",
            "It adds the template code {{ ticket | upper }}; only plain variables may be added.",
        ),
        (TEXT + "{# hi #}", "It adds the template code {# hi #}; only plain variables may be added."),
        (
            TEXT + "{% set ticket = 1 %}",
            "It adds the template code {% set ticket = 1 %}; only plain variables may be added.",
        ),
        (TEXT + "\0", "It is not a valid prompt: route.md:7: byte 110 is NUL: a binary file is no prompt."),
        (
            TEXT + "\udc80",
            "It is not a valid prompt: route.md:7: character U+DC80 cannot be written as UTF-8.",
        ),
        (TEXT + "{{ x", "It is not a valid prompt: route.md:7: template syntax error: "),
    ],
)
def test_what_speaks_against_a_candidate(route: PromptFile, prose: str, objection: str) -> None:
    (found,) = route.objections(prose)

    assert found.startswith(objection)


def test_all_that_is_wrong_is_said_at_once(route: PromptFile) -> None:
    assert route.objections("Hi {{ name }}") == (
        "It lost the variable {{ ticket }}.",
        "It uses the variable {{ name }}, which the tests do not give.",
        "It lost the line 'Answer with one word.'.",
    )


def test_template_code_that_was_there_may_stay_but_not_multiply(tmp_path: Path) -> None:
    loop = "{% for t in tickets %}{{ t | upper }}{% endfor %}"
    file = load(tmp_path, f"Sort:\n{loop}\n")

    assert file.objections("Now sort: {%for t in tickets%}{{t|upper}} or {{t|upper}}{%endfor%}") == ()
    assert file.objections(f"Sort: {loop} {loop}") == (
        "It adds the template code {% for t in tickets %}; only plain variables may be added.",
        "It adds the template code {% endfor %}; only plain variables may be added.",
    )


def test_a_variable_may_not_be_turned_into_plain_text(tmp_path: Path) -> None:
    assert load(tmp_path, "Sort {{ x }}").objections("{% raw %}{{ x }}{% endraw %} {{ x }}") == (
        "It adds the template code {% raw %}; only plain variables may be added.",
        "It adds the template code {% endraw %}; only plain variables may be added.",
    )


def test_chat_roles_stay_in_their_order(tmp_path: Path) -> None:
    file = load(tmp_path, "system:\nSort.\nuser:\n{{ ticket }}\n")

    assert file.objections("system:\nSort well.\n\nuser:\n\n{{ ticket }}") == ()
    assert file.objections("Sort well. {{ ticket }}") == (
        "It changed the chat roles from `system`, `user` to none.",
    )
    assert "must be the first turn" in file.objections("user:\n{{ ticket }}\nsystem:\nSort.")[0]


@pytest.mark.parametrize(
    ("reply", "turns"),
    [
        ("Sort well.\n1. Refunds first.", ["Sort well.\n1. Refunds first.", "Ticket:\n{{ ticket }}"]),
        ("\nSort well.\n\nInput: {{ticket}}\nLabel:", ["Sort well.", "Input: {{ticket}}\nLabel:"]),
        ("Sort for {{ company }}.\n{{ ticket }}", ["Sort for {{ company }}.", "{{ ticket }}"]),
    ],
)
def test_instructions_that_come_back_without_turns_are_the_system_turn(
    tmp_path: Path, reply: str, turns: list[str]
) -> None:
    """A weak writer gives the instructions alone, or all in one text."""
    file = load(tmp_path, "system:\nSort for {{ company }}.\nuser:\nTicket:\n{{ ticket }}\n")
    text = file.with_lost_turns(reply)
    assert [turn.source for turn in file.turns_of(text)] == turns
    assert [turn.role for turn in file.turns_of(text)] == ["system", "user"]


@pytest.mark.parametrize(
    ("prompt", "reply"),
    [
        ("system:\nSort.\nuser:\n{{ x }}\n", "system:\nSort well.\nuser:\n{{ x }}"),
        ("system:\nSort.\nuser:\n{{ x }}\n", "user:\nSort well: {{ x }}"),
        ("system:\nSort.\nuser:\n{{ x }}\n", "Sort well: {{ x }}"),
        ("system:\nSort.\nuser:\n{{ x }}\n", " \n"),
        ("system:\nSort.\nuser:\n{{ x }}\nassistant:\nIt is\n", "Sort well.\n{{ x }}"),
        ("Sort.\n{{ x }}\n", "Sort well.\n{{ x }}"),
    ],
)
def test_where_it_is_not_clear_what_belongs_where_a_reply_stays_as_it_is(
    tmp_path: Path, prompt: str, reply: str
) -> None:
    assert load(tmp_path, prompt).with_lost_turns(reply) == reply


def test_the_cap_follows_the_file_not_the_incumbent(tmp_path: Path) -> None:
    file = load(tmp_path, "x" * 3000)
    incumbent = file.with_prose("y" * 12_000)

    assert file.objections("z" * 12_000) == ()
    assert incumbent.objections("z" * 12_001) == ("It has 12,001 characters; at most 12,000 are accepted.",)


def test_no_cap_is_above_what_can_be_read_again(tmp_path: Path) -> None:
    file = load(tmp_path, "x" * 300_000)

    assert file.objections("y" * 1_100_000) == (
        "It has 1,100,000 characters; at most 1,000,000 are accepted.",
    )


def test_a_candidate_is_the_same_file_with_another_text(route: PromptFile) -> None:
    candidate = route.with_prose("New {{ ticket }}\r\nAnswer with one word.\r\n")

    assert candidate.prose == "New {{ ticket }}\nAnswer with one word."
    assert candidate.content() == (ROUTE + "New {{ ticket }}\nAnswer with one word.\n").encode()
    assert (candidate.name, candidate.front, candidate.original) == (route.name, route.front, route.original)
    assert candidate.variables == {"ticket", "company"}
    assert [m.content for m in candidate.render({"ticket": "A", "company": "B"})] == [
        "You serve B.",
        "New A\nAnswer with one word.",
    ]


def test_compiling_a_candidate_evaluates_nothing(route: PromptFile) -> None:
    tracemalloc.start()
    try:
        assert route.objections(TEXT + "{{ 'x' * 10 ** 7 }}") == (
            "It adds the template code {{ 'x' * 10 ** 7 }}; only plain variables may be added.",
        )
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


@settings(deadline=None)  # a disk has no deadline
@given(
    prose=st.text()
    | st.lists(st.sampled_from(["{{", "}}", "{%", "%}", "{#", "#}", " if ", " x ", "\n"])).map("".join)
)
def test_every_text_without_objections_can_be_put_in_place(file: PromptFile, prose: str) -> None:
    if not file.objections(prose):
        candidate = file.with_prose(prose)
        assert candidate.variables == file.variables
        assert candidate.render({"x": "1"})
    else:
        assert all(sentence.endswith(".") for sentence in file.objections(prose))


def test_a_candidate_that_is_no_prompt_is_an_error_at_its_line(route: PromptFile) -> None:
    with pytest.raises(PromptFileError, match=r"^route.md:6: template syntax error"):
        route.with_prose("Sort\n{{ ticket")
