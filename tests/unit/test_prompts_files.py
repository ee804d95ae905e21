"""A prompt file is found and read, or refused at the line that is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_promptopt import Image, cases
from pytest_promptopt.errors import PromptFileError, SettingsError
from pytest_promptopt.prompts import PromptFile, locate_prompt_file
from pytest_promptopt.prompts.layout import MAX_FILE_BYTES


def load(folder: Path, content: str | bytes, *, name: str = "route.md") -> PromptFile:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return PromptFile.load(path, rootdir=folder)


def refusal(folder: Path, content: str | bytes, *, name: str = "route.md") -> str:
    with pytest.raises(PromptFileError) as caught:
        load(folder, content, name=name)
    return str(caught.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a property; each example writes the same file anew."""
    return tmp_path_factory.mktemp("prompts")


def test_a_plain_text_is_a_prompt(tmp_path: Path) -> None:
    file = load(tmp_path, "Sort {{ ticket }} into {{ queues }}.\n", name="prompts/route.txt")

    assert file.name == "prompts/route.txt"
    assert file.path == tmp_path / "prompts" / "route.txt"
    assert file.prose == "Sort {{ ticket }} into {{ queues }}."
    assert file.variables == {"ticket", "queues"}
    assert file.roles == ()


def test_front_matter_says_how_to_ask(tmp_path: Path) -> None:
    file = load(
        tmp_path,
        "---\n"
        "model: anthropic/claude\n"
        "temperature: 0.2\n"
        "max_tokens: 50\n"
        "stop: END\n"
        "system: |\n"
        "  You serve\n"
        "  {{ company }}.\n"
        "description: routes tickets\n"
        "keep:\n"
        "  - Answer with one word.\n"
        "parameters:\n"
        "  top_p: 0.9\n"
        "---\n"
        "\n"
        "{{ ticket }}\n"
        "Answer with one word.\n",
    )

    front = file.front
    assert (front.model, front.max_tokens, front.stop) == ("anthropic/claude", 50, ("END",))
    assert front.parameters == {"temperature": 0.2, "top_p": 0.9}
    assert front.system == "You serve\n{{ company }}."
    assert front.description == "routes tickets"
    assert front.keep == ("Answer with one word.",)
    assert file.variables == {"company", "ticket"}
    assert file.prose == "{{ ticket }}\nAnswer with one word."
    assert front.lines["parameters.top_p"] == 13
    assert front.lines["parameters.temperature"] == 3


def test_keep_may_name_lines_that_belong_together(tmp_path: Path) -> None:
    file = load(tmp_path, '---\r\nkeep: |\r\n  {\r\n    "a": 1\r\n  }\r\n---\r\n{\r\n  "a": 1\r\n}\r\n')

    assert file.front.keep == ('{\n  "a": 1\n}',)


def test_a_stop_sequence_may_be_a_newline(tmp_path: Path) -> None:
    assert load(tmp_path, '---\nstop: ["\\n", END]\n---\nHello').front.stop == ("\n", "END")


def test_front_matter_may_be_empty(tmp_path: Path) -> None:
    file = load(tmp_path, "---\n---\nHello\n")

    assert file.front.model is None
    assert file.prose == "Hello"


def test_a_rule_further_down_is_text(tmp_path: Path) -> None:
    assert load(tmp_path, "Hello\n---\nmodel: x\n---\n").prose == "Hello\n---\nmodel: x\n---"


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("---\nmodel: x\nHello\n", 1, "not closed"),
        ("---", 1, "not closed"),
        ("---\nmodel: x\n  y: z\n---\nHello", 3, "not valid YAML"),
        ("---\nsystem: {{ who }}\n---\nHello", 2, "quote a value"),
        ("---\nmodel: x\nmodel: y\n---\nHello", 3, "given twice"),
        ("---\n{model: x, model: y}\n---\nHello", 2, "given twice"),
        ("---\n- model\n---\nHello", 2, "`key: value` lines"),
        ("---\nmodel: \x07\n---\nHello", 2, "special characters"),
        ("---\nmodel:\n---\nHello", 2, "got nothing"),
        ("---\nmodel: 3.5\n---\nHello", 2, "got 3.5"),
        ("---\nmax_tokens: true\n---\nHello", 2, "a whole number from 1, got True"),
        ("---\nmax_tokens: 0\n---\nHello", 2, "a whole number from 1, got 0"),
        ("---\ntemperature: hot\n---\nHello", 2, "a number from 0, got 'hot'"),
        ("---\ntemperature: .inf\n---\nHello", 2, "a number from 0, got inf"),
        ("---\n{{ who }}: x\n---\nHello", 2, "a key must be a word"),
        ("---\nparameters: {<<: {model: x}}\n---\nHello", 2, "`model` may not be given below"),
        ("---\nkeep: ['', Hello]\n---\nHello", 2, "a line of the prompt or a list of lines"),
        ("---\nkeep: ' '\n---\nHello", 2, "a line of the prompt or a list of lines"),
        ("---\nstop: [1]\n---\nHello", 2, "a string or a list of strings"),
        ("---\nparameters: 1\n---\nHello", 2, "a mapping of provider parameters"),
        ("---\nparameters: {seen: 2024-01-01}\n---\nHello", 2, "a mapping of provider parameters"),
        ("---\nparameters:\n  seen: 2024-99-01\n---\nHello", 3, "month must be in 1..12"),
        ("---\nparameters:\n  max_tokens: 1\n---\nHello", 3, "may not be given below"),
        ("---\nparameters:\n  api_base: http://x\n---\nHello", 3, "address and key are for the environment"),
        ("---\nparameters: {extra_headers: {}}\n---\nHello", 2, "`extra_headers` is no parameter of a model"),
        ("---\ntemperature: 0\nparameters:\n  temperature: 1\n---\nHello", 4, "may not be given below"),
        ("---\nparameters:\n  a: &a [1]\n  b: *a\n---\nHello", 4, "aliases"),
        ("---\nparameters: " + "[" * 600 + "]" * 600 + "\n---\nHello", 2, "nested too deeply"),
        ("---\nkeep:\n  - Hello\n  - Bye\n---\nHello", 4, "not in the prompt, spaces included: 'Bye'"),
        ("---\nkeep: Hell\n---\nHello", 2, "'Hell'"),
        ("---\nsystem: A\n---\nsystem:\nB\nuser:\nC", 5, "has a `system` already"),
        ("---\nsystem: |\n  A\n  {{ b\n---\nC", 4, "template syntax error"),
        ("user:\nA\nsystem:\nB", 4, "must be the first turn"),
        ("user:\n\nassistant:\nB", 3, "the `user:` turn is empty"),
        ("", 1, "the prompt is empty"),
        ("\ufeff\n \n", 2, "the prompt is empty"),
        ("---\nmodel: x\n---\n\n\n", 6, "no text below the front matter"),
        ("---\nmodel: x\n---\nHello\n{{ name }\n", 5, "template syntax error: unexpected '}'"),
        ("Hello\r\rHello\r\n{% if x %}\r\n", 4, "'endif'"),
        ("Hello\n{{ name | shout }}", 2, "No filter named 'shout'"),
        ("Hello\n{{ names | random }}", 2, "No filter named 'random'"),
        ("Hello\n{% include 'x.md' %}", 2, "`include` is not supported"),
        ("{{ " + "(" * 5000 + ")" * 5000 + " }}", 1, "cannot be compiled"),
        ("{% for a in b %}" * 30 + "{% endfor %}" * 30, 1, "cannot be compiled"),
        (b"Hello\n\nH\xe9llo", 3, "byte 8 (0xe9) is not UTF-8"),
        (b"Hello\r\n\0", 2, "byte 7 is NUL"),
        ("Hello".encode("utf-16"), 1, "is NUL"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, content: str | bytes, line: int, words: str
) -> None:
    message = refusal(tmp_path, content)

    assert message.startswith(f"route.md:{line}: ")
    assert words in message


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path, "Hello", name="route.docx")
    assert said.startswith(
        "route.docx: a prompt cannot be read from 'route.docx'; accepted are a .md, .txt or "
    )


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    assert "at most 1,000,000" in refusal(tmp_path, "x" * (MAX_FILE_BYTES + 1))


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.md").mkdir()
    (tmp_path / "broken.md").symlink_to("nowhere.md")
    (tmp_path / "loop.md").symlink_to("loop.md")
    os.mkfifo(tmp_path / "pipe.md")

    for name, words in {
        "folder.md": "is a folder",
        "missing.md": "does not exist",
        "broken.md": "a link to nowhere.md, which does not exist",
        "loop.md": "cannot be read",
        "pipe.md": "not a regular file",
    }.items():
        with pytest.raises(PromptFileError, match=words) as caught:
            PromptFile.load(tmp_path / name, rootdir=tmp_path)
        assert caught.value.path == name


def test_a_prompt_lies_below_rootdir_also_through_links(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret.md").write_text("Hello", encoding="utf-8")
    (root / "linked.md").symlink_to(outside / "secret.md")
    (root / "folder").symlink_to(outside)

    for path in ("../outside/secret.md", "linked.md", "folder/secret.md"):
        with pytest.raises(PromptFileError, match="is outside rootdir"):
            PromptFile.load(root / path, rootdir=root)


def test_a_link_within_rootdir_keeps_its_own_name(tmp_path: Path) -> None:
    load(tmp_path, "Hello", name="prompts/v2.md")
    (tmp_path / "current.md").symlink_to("prompts/v2.md")

    file = PromptFile.load(tmp_path / "current.md", rootdir=tmp_path)

    assert (file.name, file.path) == ("current.md", tmp_path / "current.md")


def test_a_way_round_leads_to_the_same_name(tmp_path: Path) -> None:
    load(tmp_path, "Hello", name="prompts/route.md")
    (tmp_path / "tests").mkdir()

    file = PromptFile.load(tmp_path / "tests" / ".." / "prompts" / "route.md", rootdir=tmp_path)

    assert file.name == "prompts/route.md"


def test_the_folder_of_the_test_comes_first(tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    load(tmp_path, "root", name="both.md")
    load(tmp_path, "root", name="root.md")
    load(tests, "tests", name="both.md")
    (tests / "root.md").mkdir()

    def found(spec: object) -> Path:
        where = "tests/test_a.py:3"
        return locate_prompt_file(spec, test_dir=tests, rootdir=tmp_path, where=where).path

    assert found("both.md") == tests / "both.md"
    assert found(Path("root.md")) == tmp_path / "root.md", "a file goes before a folder"
    assert found(str(tmp_path / "root.md")) == tmp_path / "root.md"


def test_a_missing_prompt_names_the_mark_and_the_places(tmp_path: Path) -> None:
    with pytest.raises(PromptFileError) as caught:
        locate_prompt_file("no.md", test_dir=tmp_path / "tests", rootdir=tmp_path, where="tests/test_a.py:3")

    assert str(caught.value) == (
        "tests/test_a.py:3: there is no prompt file 'no.md'; "
        f"looked for {tmp_path}/tests/no.md and {tmp_path}/no.md"
    )


def test_a_name_that_no_system_takes_is_that_of_no_file(tmp_path: Path) -> None:
    with pytest.raises(PromptFileError, match=r"tests/test_a.py:3: there is no prompt file 'aaa"):
        locate_prompt_file("a" * 300, test_dir=tmp_path, rootdir=tmp_path, where="tests/test_a.py:3")
    with pytest.raises(SettingsError, match=r"there is no such file"):
        cases("a" * 300)
    with pytest.raises(SettingsError, match=r"messages\[0\]: there is no file aaa"):
        Image("a" * 300).file("messages[0]", (tmp_path,))


@pytest.mark.parametrize("spec", ["", " ", "a\0.md", 3, None])
def test_what_is_no_path_is_a_settings_error(tmp_path: Path, spec: object) -> None:
    with pytest.raises(SettingsError, match=r"tests/test_a.py:3: .*, got"):
        locate_prompt_file(spec, test_dir=tmp_path, rootdir=tmp_path, where="tests/test_a.py:3")


line_ends = st.sampled_from(["\n", "\r\n", "\r"])
lines = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n{"), max_size=8)


@st.composite
def files(draw: st.DrawFn) -> str:
    """Any file that can be a prompt: with or without mark, front matter, final newlines; line ends mixed."""
    text = draw(st.sampled_from(["", "\ufeff"]))
    if draw(st.booleans()):
        matter = ["---", *draw(st.sampled_from([[], ["model: a/b"], ["stop: |", "  x", "", "  y"]])), "---"]
        text += "".join(line + draw(line_ends) for line in matter)
    text += "".join(draw(st.lists(line_ends, max_size=2)))
    body = draw(st.lists(lines, max_size=5))
    text += "Text" + "".join(line + draw(line_ends) for line in body)
    return text


@settings(deadline=None)  # a disk has no deadline
@given(content=files())
def test_an_unchanged_prompt_is_the_same_file_byte_for_byte(folder: Path, content: str) -> None:
    file = load(folder, content)

    assert file.original == content.encode()
    assert file.content() == file.original
    assert file.with_prose(file.prose).content() == file.original
    assert file.with_prose("Other").with_prose(file.prose).content() == file.original


@settings(deadline=None)  # a disk has no deadline
@given(content=files(), prose=st.lists(lines, min_size=1).map("\n".join))
@example(content="Text\r\r\n\n0\n", prose="0\n\n0")
def test_a_new_prose_is_read_back_as_it_was_written(folder: Path, content: str, prose: str) -> None:
    file = load(folder, content)
    try:
        candidate = file.with_prose(prose)
    except PromptFileError:
        assert not prose.strip() or prose.lstrip("\n").startswith(("---", "\ufeff"))
        return
    again = load(folder, candidate.content())

    assert again.prose == candidate.prose == prose.strip("\n")
    assert again.front == file.front


@settings(deadline=None)  # a disk has no deadline
@given(data=st.binary(max_size=60) | st.text().map(lambda text: f"---\n{text}\n---\nx".encode()))
def test_any_bytes_are_a_prompt_or_a_prompt_file_error(folder: Path, data: bytes) -> None:
    try:
        file = load(folder, data)
    except PromptFileError:
        return
    assert file.content() == data
