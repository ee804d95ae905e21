"""`load_prompt`: an application sends what the tests have checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt import load_prompt
from pytest_promptopt.api import LoadedPrompt, PromptFileError, RenderError, SettingsError
from pytest_promptopt.prompts.examples import Example, with_examples

CHAT = """---
model: anthropic/claude-haiku-4-5
temperature: 0.2
max_tokens: 20
stop: [END]
system: You work for {{ shop }}.
---
user:
Route: {{ ticket }}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], LoadedPrompt]:
    def written(text: str) -> LoadedPrompt:
        (tmp_path / "route.md").write_text(text)
        return load_prompt(tmp_path / "route.md")

    return written


def test_a_plain_prompt_is_one_text(write: Callable[[str], LoadedPrompt]) -> None:
    prompt = write("Route: {{ ticket }}\n")
    assert prompt.render(ticket="my card") == "Route: my card"
    assert prompt.messages(ticket="my card") == [{"role": "user", "content": "Route: my card"}]
    assert (prompt.text, prompt.model, prompt.parameters) == ("Route: {{ ticket }}", None, {})
    assert prompt.variables == {"ticket"}


def test_a_chat_comes_with_its_system_message_and_parameters(write: Callable[[str], LoadedPrompt]) -> None:
    prompt = write(CHAT)
    assert prompt.messages(ticket="my card", shop="Acme") == [
        {"role": "system", "content": "You work for Acme."},
        {"role": "user", "content": "Route: my card"},
    ]
    assert prompt.model == "anthropic/claude-haiku-4-5"
    assert prompt.parameters == {"temperature": 0.2, "max_tokens": 20, "stop": ["END"]}


def test_a_conversation_comes_last(write: Callable[[str], LoadedPrompt]) -> None:
    turns = [{"role": "user", "content": "hello {{ not a variable }}"}]
    assert write("Be {{ mood }}.").messages(messages=turns, mood="kind") == [
        {"role": "system", "content": "Be kind."},
        *turns,
    ]


def test_examples_that_an_optimization_has_added_are_turns(write: Callable[[str], LoadedPrompt]) -> None:
    shown = [Example({"ticket": "no card"}, "delivery")]
    prompt = write(with_examples("Route: {{ ticket }}", shown) + "\n")
    assert [turn["role"] for turn in prompt.messages(ticket="x")] == ["user", "assistant", "user"]
    with pytest.raises(RenderError, match=r"route\.md: it is a chat of 3 turns \(user, assistant, user\)"):
        prompt.render(ticket="x")


def test_the_tests_of_a_prompt_send_the_very_same(
    write: Callable[[str], LoadedPrompt], tmp_path: Path
) -> None:
    from pytest_promptopt import Case, optimize
    from pytest_promptopt.testing import FakeModel

    prompt = write(CHAT)
    model = FakeModel(lambda request: "billing")
    given: dict[str, Any] = {"ticket": "my card", "shop": "Acme"}
    optimize(
        tmp_path / "route.md",
        [Case(given, "billing")],
        rootdir=tmp_path,
        optimizer_model="none",
        resolve_model=lambda name: model,
    )
    sent = model.requests[0]
    assert [{"role": m.role, "content": m.content} for m in sent.messages] == prompt.messages(**given)
    assert {"max_tokens": sent.max_tokens, "stop": list(sent.stop), **sent.parameters} == prompt.parameters


@pytest.mark.parametrize(
    ("given", "complaint"),
    [({}, "`ticket` not given"), ({"ticket": "x", "tone": "y"}, "`tone` given but not used by the prompt")],
)
def test_variables_that_do_not_fit_are_named(
    write: Callable[[str], LoadedPrompt], given: dict[str, str], complaint: str
) -> None:
    with pytest.raises(RenderError, match=complaint):
        write("Route: {{ ticket }}").render(**given)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PromptFileError, match=r"nowhere\.md: the file does not exist"):
        load_prompt(tmp_path / "nowhere.md")


def test_a_relative_path_is_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "say.txt").write_text("Say it.")
    assert load_prompt("a/say.txt").path == tmp_path / "a" / "say.txt"
    assert load_prompt("a/say.txt").render() == "Say it."


def test_a_text_in_a_file_is_loaded_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app.yaml").write_text("route:\n  text: 'Route: {{ ticket }}'\n")
    (tmp_path / "app.py").write_text("PROMPT = 'Route: {ticket} for $five'\n")
    monkeypatch.chdir(tmp_path)
    assert load_prompt("app.yaml::route.text").render(ticket="my card") == "Route: my card"
    prompt = load_prompt(f"{tmp_path / 'app.py'}::PROMPT", template="format")
    assert (prompt.render(ticket="my card"), prompt.path) == ("Route: my card for $five", tmp_path / "app.py")


def test_what_a_text_is_written_in_must_be_known(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("PROMPT = 'Route: {ticket} for $five'\n")
    with pytest.raises(
        PromptFileError, match=r"app\.py:1: its template language could be format .* or template"
    ):
        load_prompt(f"{tmp_path / 'app.py'}::PROMPT")
    accepted = "jinja2, format, percent, template, mustache, nunjucks, none"
    said = f"'jinja' is no template language; accepted are {accepted}"
    with pytest.raises(SettingsError, match=rf"load_prompt\(template=...\): {said}"):
        load_prompt(f"{tmp_path / 'app.py'}::PROMPT", template="jinja")
