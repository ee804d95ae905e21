"""What is sent to the model: turns come from the template, values are data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_promptopt.attachments import Image
from pytest_promptopt.completion import Completion
from pytest_promptopt.errors import PromptFileError, RenderError
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Answer, Message

CHAT = "system:\nYou sort.\n\nuser:\n\n{{ ticket }}\n\nassistant:\nQueue:\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prompts")


def load(folder: Path, text: str) -> PromptFile:
    path = folder / "route.md"
    path.write_text(text, encoding="utf-8", newline="")
    return PromptFile.load(path, rootdir=folder)


def refusal(file: PromptFile, variables: Mapping[str, object], messages: Any = ()) -> str:
    with pytest.raises(RenderError) as caught:
        file.render(variables, messages=messages)
    return str(caught.value)


def test_a_text_without_roles_is_the_user_message(tmp_path: Path) -> None:
    file = load(tmp_path, "---\nsystem: You serve {{ company }}.\n---\n\nSort {{ ticket }}.\n")

    assert file.render({"company": "ACME", "ticket": 7}) == (
        Message("system", "You serve ACME."),
        Message("user", "Sort 7."),
    )


def test_role_lines_start_turns(tmp_path: Path) -> None:
    file = load(tmp_path, CHAT)

    assert file.roles == ("system", "user", "assistant")
    assert file.render({"ticket": "Refund?"}) == (
        Message("system", "You sort."),
        Message("user", "Refund?"),
        Message("assistant", "Queue:"),
    )


def test_role_lines_count_only_when_the_text_begins_with_one(tmp_path: Path) -> None:
    assert load(tmp_path, "An example:\nuser:\nHi\n").roles == ()
    assert load(tmp_path, "{# Who is asked #} user:\nHi\n").roles == ()
    assert load(tmp_path, "\nuser: \nsystem: is a word here\n").roles == ("user",)


@pytest.mark.parametrize(
    "text", ["System:\nYou sort.\n\nUSER: \nHi\n", "{# Two\nturns #}\n\nsystem:\nYou sort.\nuser:\nHi"]
)
def test_role_lines_are_seen_in_any_case_and_below_a_comment(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text).render({}) == (Message("system", "You sort."), Message("user", "Hi"))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Human:\nHi\n", "route.md:1: `Human:` is text and no role: a chat begins with a line `system:`,"),
        ("\n# System\nYou sort.", "route.md:2: `# System` is text"),
        ("---\nmodel: demo\n---\n<|user|>\nHi", "route.md:4: `<|user|>` is text"),
        ("You sort.\n\nsystem:\nSort.\nuser:\nHi", "route.md:3: `system:` is text and no role"),
        (
            "system:\nSort.\n{% for m in chat %}\n{{ m.role }}:\n{{ m.text }}\n{% endfor %}\nuser:\nHi",
            "route.md:4: `{{ m.role }}:` begins no turn, since roles are found before the template is "
            "rendered; give a history as messages=",
        ),
        ("system:\nSort.\n{{- m['role'] -}}:\nuser:\nHi", "route.md:3: `{{- m['role'] -}}:` begins no turn"),
    ],
)
def test_what_looks_like_a_role_and_is_none_gets_a_hint(tmp_path: Path, text: str, hint: str) -> None:
    [said] = load(tmp_path, text).hints
    assert said.startswith(hint)


@pytest.mark.parametrize(
    "text",
    [
        CHAT,
        "Answer as the user would.",
        "# Instructions\nSort.",
        "User: {{ question }}\nAssistant:",
        "Sum up:\n{% for m in chat %}{{ m.role }}:\n{{ m.text }}{% endfor %}",
        "An example:\nuser:\nHi",
    ],
)
def test_other_texts_get_none(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text).hints == ()


def test_a_loop_across_turns_is_refused_at_its_turn(tmp_path: Path) -> None:
    text = "system:\nSort.\n{% for m in chat %}\nuser:\n{{ m }}\n{% endfor %}\nassistant:\nOk"
    with pytest.raises(PromptFileError, match=r"route.md:2: a template block goes across role lines; turns"):
        load(tmp_path, text)
    with pytest.raises(PromptFileError, match=r"route.md:3: template syntax error"):
        load(tmp_path, "system:\nSort.\n{% for m in chat %}\nuser:\n{{ m }}\n")


def test_a_conversation_follows_the_prompt(tmp_path: Path) -> None:
    chat: list[Mapping[str, str] | Message] = [
        {"role": "user", "content": "{{ hi }}"},
        Message("assistant", "Yes?"),
    ]
    turns = (Message("user", "{{ hi }}"), Message("assistant", "Yes?"))

    assert load(tmp_path, "Be kind.").render({}, messages=chat) == (Message("system", "Be kind."), *turns)
    assert load(tmp_path, CHAT).render({"ticket": "x"}, messages=chat)[3:] == turns
    assert load(tmp_path, "system:\nBe kind.").render({}, messages=chat) == (
        Message("system", "Be kind."),
        *turns,
    )


def test_an_answer_may_be_part_of_the_next_question(tmp_path: Path) -> None:
    answer = Completion(Answer("Yes?", "demo", "end_turn", None, None, 0.0))

    (_, turn) = load(tmp_path, "Be kind.").render({}, messages=[{"role": "assistant", "content": answer}])

    assert turn == Message("assistant", "Yes?")
    assert type(turn.content) is str


def test_two_system_messages_are_refused(tmp_path: Path) -> None:
    file = load(tmp_path, "---\nmodel: x\nsystem: A\n---\nB\n")

    assert refusal(file, {}, [Message("user", "C")]).startswith("route.md:3: with messages= the text")


def test_a_system_message_alone_is_no_question(tmp_path: Path) -> None:
    assert "only a system message" in refusal(load(tmp_path, "system:\nBe kind."), {})


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ("hello", "must be a list of chat turns, got str"),
        ([7], "messages[0] must be a mapping"),
        (
            [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}],
            "messages[1] has role 'system'",
        ),
        ([Message("system", "a")], "messages[0] has role 'system'; accepted are 'user', 'assistant', 'tool'"),
        ([{"content": "a"}], "messages[0] has role None"),
        ([{"role": "user"}], "must have a string, or a list of parts, as `content`, got NoneType"),
        (
            [{"role": "user", "content": [{"type": "image"}]}],
            "messages[0].content[0] (image) cannot be read: `source` is missing",
        ),
        ([{"role": "user", "content": [{"type": "input_audio"}]}], "has the type 'input_audio'; accepted"),
        ([{"role": "user", "content": [7]}], "messages[0].content[0] is a int; accepted are strings, Image"),
        ([{"role": "user", "content": []}], "messages[0] has no content"),
        (
            [{"role": "user", "content": "a", "name": "b"}],
            "has `name`; a turn of role 'user' takes `content`",
        ),
        ([{"role": "tool", "content": "a"}], "of role 'tool' holds a Text, which is for another role"),
        (
            [{"role": "tool", "content": "a", "tool_call_id": 7}],
            "messages[0].tool_call_id must be the `id` of a call, got 7",
        ),
        (
            [{"role": "assistant", "content": "", "tool_calls": [{"id": "a"}]}],
            "messages[0].tool_calls[0] has no `name` of a function",
        ),
        (
            [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}],
            "messages[0].content[0] has a `file_id`, and only what is sent",
        ),
        ([{"role": "user", "content": [Image("no.png")]}], "messages[0].content[0]: there is no file no.png"),
    ],
)
def test_messages_are_plain_turns(tmp_path: Path, messages: object, words: str) -> None:
    assert words in refusal(load(tmp_path, "Be kind."), {}, messages)


def test_a_missing_variable_is_named_where_it_is_used(tmp_path: Path) -> None:
    file = load(tmp_path, "---\nmodel: x\n---\nSort\n{{ ticket }} for\n{{ name }}, {{ ticket }}\n")

    assert refusal(file, {"name": "Ann", "tiket": "x"}) == (
        "route.md:5: `ticket` not given, `tiket` given but not used by the prompt; "
        "given: `name`, `tiket`; the prompt declares: `name`, `ticket`"
    )


def test_an_unused_variable_is_an_error(tmp_path: Path) -> None:
    assert refusal(load(tmp_path, "Hello"), {"name": "Ann"}) == (
        "route.md: `name` given but not used by the prompt; given: `name`; the prompt declares: none"
    )


def test_single_braces_around_a_variable_are_explained(tmp_path: Path) -> None:
    said = refusal(load(tmp_path, "Sort {ticket} for {name}."), {"ticket": "x"})
    assert said.startswith(
        "route.md: `ticket` given but not used by the prompt, it has {ticket}: write {{ ticket }};"
    )


@pytest.mark.parametrize("name", ["messages", "response_schema"])
def test_a_variable_that_a_call_could_never_give_is_refused(tmp_path: Path, name: str) -> None:
    file = load(tmp_path, f"Sum up.\n{{{{ {name} }}}}\n")
    assert refusal(file, {}).startswith(
        f"route.md:2: `{name}` is an argument of prompt(...); call the variable"
    )


@pytest.mark.parametrize(
    "text",
    [
        "{% if x is defined %}X: {{ x }}{% endif %}",
        "{% if x is not defined %}none{% else %}{{ x }}{% endif %}",
        "{% if x is undefined %}none{% elif y %}{{ x }}{% endif %}",
        "{% if x is defined and x %}{{ x }}{% endif %}",
        "{% if x is undefined or not x %}none{% else %}{{ x }}{% endif %}",
        "{% if not (x is undefined) %}{% for each in x %}{{ each }}{% endfor %}{% endif %}",
        "{{ x | default('none') }}",
        "{{ x | d('none') | upper }}",
        "{{ x if x is defined else 'none' }}",
        "{% set x = x | default('none') %}{{ x }}",
        "{% if x is not defined %}{% set x = 'none' %}{% endif %}{{ x }}",
    ],
)
def test_a_variable_that_the_text_looks_for_may_be_left_out(tmp_path: Path, text: str) -> None:
    file = load(tmp_path, text + "{{ y }}")
    assert file.variables == {"x", "y"}
    assert file.needed == {"y"}
    assert file.render({"y": "1"})
    assert file.render({"x": "text", "y": "1"}) != file.render({"y": "1"})


@pytest.mark.parametrize(
    "text",
    [
        "{% if x is defined %}yes{% endif %}{{ x }}",
        "{% if x is defined or y %}{{ x }}{% endif %}",
        "{% if x is not defined %}{{ x }}{% endif %}",
        "{% if x is not none %}{{ x }}{% endif %}",
        "{% if x %}{{ x }}{% endif %}",
        "{{ x.name | default('none') }}",
        "{{ y | default(x) }}",
        "{% for each in y %}{% set x = each %}{% endfor %}{{ x }}",
        "{% if y %}{% set x = 'none' %}{% endif %}{{ x }}",
    ],
)
def test_a_variable_that_is_used_all_the_same_must_be_given(tmp_path: Path, text: str) -> None:
    file = load(tmp_path, text)
    assert "x" in file.needed
    assert "`x` not given" in refusal(file, {"y": "1"})


def test_a_variable_is_needed_when_one_turn_needs_it(tmp_path: Path) -> None:
    file = load(tmp_path, "system:\n{{ x | default('none') }}\nuser:\n{{ x }}")
    assert file.needed == {"x"}


def test_names_that_the_template_sets_itself_are_not_asked_for(tmp_path: Path) -> None:
    file = load(tmp_path, "{% for item in items %}{{ loop.index }}. {{ item }}\n{% endfor %}{{ dict }}")

    assert file.variables == {"items", "dict"}
    assert file.render({"items": ["a", "b"], "dict": "c"}) == (Message("user", "1. a\n2. b\nc"),)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("''.__class__.__mro__", "SecurityError: access to attribute '__class__'"),
        ("x.missing", "UndefinedError: 'list object' has no attribute 'missing'"),
        ("x.append(1)", "SecurityError"),
        ("1 / 0", "ZeroDivisionError"),
        ("range(10 ** 7)", "OverflowError: Range too big"),
        ("x[0] ~ 'y' * 10000000", "OverflowError: the text grows beyond 10,000,000 characters"),
    ],
)
def test_a_template_that_fails_is_named_with_its_line(tmp_path: Path, expression: str, words: str) -> None:
    file = load(tmp_path, f"user:\n\n\nA\n{{% if x %}}B{{% endif %}}\nC {{{{ {expression} }}}} D\n")

    message = refusal(file, {name: [1, 2, 3] for name in file.variables})

    assert message.startswith("route.md:6: cannot be rendered: ")
    assert words in message


def test_a_value_that_has_no_text_is_a_render_error(tmp_path: Path) -> None:
    class Silent:
        def __str__(self) -> str:
            raise LookupError("no words")

    assert "route.md:2: cannot be rendered: LookupError: no words" in refusal(
        load(tmp_path, "A\n{{ value }}"), {"value": Silent()}
    )


def test_nothing_random_is_within_reach(tmp_path: Path) -> None:
    assert load(tmp_path, "{{ lipsum }}").variables == {"lipsum"}


template_like = st.lists(
    st.sampled_from(
        ["{{", "}}", "{%", "%}", "{#", "#}", " a ", "\nsystem:\n", "\nuser:\n", "\r\n", "\\", "'", "&"]
    )
    | st.text(max_size=4)
).map("".join)


@settings(deadline=None)  # a disk has no deadline
@given(value=template_like, other=template_like)
def test_values_stay_data(folder: Path, value: str, other: str) -> None:
    file = load(folder, "---\nsystem: S{{ b }}\n---\nuser:\n<{{ a }}>{{ b }}\nassistant:\n{{ a }}")

    assert file.render({"a": value, "b": other}) == (
        Message("system", f"S{other}"),
        Message("user", f"<{value}>{other}"),
        Message("assistant", value),
    )


@settings(deadline=None)  # a disk has no deadline
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="{\0\r"), min_size=1))
def test_a_text_without_braces_is_sent_as_it_is(folder: Path, text: str) -> None:
    assert load(folder, f"<\n{text}\n>").render({}) == (Message("user", f"<\n{text}\n>"),)
