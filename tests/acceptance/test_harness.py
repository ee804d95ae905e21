"""The public harness, as the author of a plugin uses it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pytest_promptopt.api import ErrorKind, Message, ModelError, Request
from pytest_promptopt.testing import ExampleProject, FakeModel


def ask(model: FakeModel, *texts: str) -> list[str]:
    async def all_of_them() -> list[str]:
        requests = [Request("fake/one", (Message("user", text),)) for text in texts]
        return [(await model.complete(request)).text for request in requests]

    return asyncio.run(all_of_them())


def test_a_fake_model_says_what_it_is_told() -> None:
    assert ask(FakeModel(), "a", "b") == ["a", "b"]
    assert ask(FakeModel(lambda request: request.messages[-1].content.upper()), "a") == ["A"]
    model = FakeModel(["one", "two"])
    assert ask(model, "a", "b") == ["one", "two"]
    assert model.asked == ["a", "b"]
    with pytest.raises(ModelError, match="no answer left"):
        ask(model, "c")


def test_faults_come_first() -> None:
    model = FakeModel(["one"], faults=[ModelError(ErrorKind.OVERLOADED, "busy")])
    with pytest.raises(ModelError, match="busy"):
        ask(model, "a")
    assert ask(model, "a") == ["one"]


def test_an_example_project_is_a_project(tmp_path: Path) -> None:
    project = ExampleProject(tmp_path, answer="def answer(request): return 'hello'")
    project.write("say.md", "Say: {{ word }}")
    project.tests("""
        @pytest.mark.prompt("say.md", model="fake/one")
        @pytest.mark.parametrize("word", ["hello", "goodbye"])
        def test_it(prompt, word):
            assert prompt(word=word) == word
    """)
    run = project.run("-q")
    assert run.exit_code == 1
    assert "1 failed, 1 passed" in run.output
    assert sorted(call["messages"][0][1] for call in project.asked()) == ["Say: goodbye", "Say: hello"]
