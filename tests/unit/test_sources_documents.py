"""Prompts that are a whole document, or one of several in a text file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.sources import Address
from pytest_promptopt.prompts.template_languages import NUNJUCKS, TemplateLanguage

CHAT = '[{"role": "system", "content": "Be {{x}}"}, {"role": "user", "content": "user:\\n{{y}}"}]'


def load(folder: Path, address: str, text: str, language: TemplateLanguage | None = NUNJUCKS) -> PromptFile:
    path = Address.parse(address).path
    (folder / path).write_bytes(text.encode())
    return PromptFile.load(address, rootdir=folder, language=language)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chat.json", CHAT),
        (
            "chat.yaml",
            "- {role: system, content: 'Be {{x}}'}\n- role: user\n  content: |-\n    user:\n    {{y}}\n",
        ),
    ],
)
def test_a_chat_is_its_messages(tmp_path: Path, name: str, text: str) -> None:
    file = load(tmp_path, f"{name}::$chat", text)
    turns = [(turn.role, turn.content) for turn in file.render({"x": "brief", "y": 'say "hi"'})]
    assert turns == [("system", "Be brief"), ("user", 'user:\nsay "hi"')]
    assert file.variables == {"x", "y"}
    assert file.content() == text.encode()


def test_the_same_as_one_text_is_json_filled_in(tmp_path: Path) -> None:
    (turn,) = load(tmp_path, "chat.json::$text", CHAT).render({"y": '"'})
    assert turn.role == "user"
    assert turn.content.splitlines()[3:4] == ['    "content": "Be "']
    assert '"content": "user:\\n\\""' in turn.content


@pytest.mark.parametrize(
    ("address", "text", "said"),
    [
        ("chat.json::$chat", '{"a": 1}', "it is no list of messages with `role` and `content`"),
        ("chat.json::$chat", "[{% if x %}]", "it cannot be read"),
        ("chat.yaml::$text", "a: [", "it cannot be read"),
        ("p.txt::2", "a\n---\n\n---\nb\n", "it has 2 prompts, so there is no 2"),
    ],
)
def test_what_is_no_such_document_is_refused(tmp_path: Path, address: str, text: str, said: str) -> None:
    with pytest.raises(PromptFileError, match=said):
        load(tmp_path, address, text)


def test_json_with_tags_between_its_values_is_a_text(tmp_path: Path) -> None:
    file = load(tmp_path, "chat.json::$text", '[{% for x in l %}"{{ x }}"{% endfor %}]')
    assert file.render({"l": ["a"]})[0].content == '["a"]'


def test_one_of_several_prompts_stands_at_its_line_and_is_not_rewritten(tmp_path: Path) -> None:
    file = load(tmp_path, "p.txt::1", "one\n---\n\n two {{x}}\nmore\n")
    assert (file.prose, file.first_line, file.name) == ("two {{x}}\nmore", 4, "p.txt::1")
    assert file.render({})[0].content == "two \nmore"
    with pytest.raises(PromptFileError, match="is not rewritten"):
        file.with_prose("three").content()


def test_a_text_is_sent_whole_with_its_role_lines(tmp_path: Path) -> None:
    assert load(tmp_path, "p.txt", "\n  user:\nhi {{x}} \n\n").render({"x": 1})[0].content == "user:\nhi 1"
    assert load(tmp_path, "p.md", "\nsystem:\nhi\n").render({})[0].content == "\nsystem:\nhi\n"
    inline = load(tmp_path, "c.yaml::prompts[0]", "prompts:\n  - |\n    user:\n    {{x}}\n")
    assert inline.render({"x": "a"})[0].content == "user:\na\n"
    assert inline.with_prose("new {{x}}").content() == b"prompts:\n  - |\n    new {{x}}\n"


def test_a_file_that_says_nunjucks_itself_keeps_its_roles(tmp_path: Path) -> None:
    text = "---\ntemplate: nunjucks\n---\nsystem:\nBe {{x}}\n\nuser:\n{{y | default('hi')}}\n"
    file = load(tmp_path, "p.md", text, language=None)
    turns = [(turn.role, turn.content) for turn in file.read_again().render({"x": 1.0})]
    assert turns == [("system", "Be 1"), ("user", "hi")]


def test_without_prompts_a_configuration_asks_its_variable(tmp_path: Path) -> None:
    assert load(tmp_path, "c.yaml::$prompt", "tests: []\n").render({"prompt": "Hi"})[0].content == "Hi"
