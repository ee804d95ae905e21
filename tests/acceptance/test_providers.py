"""What a project asks of a provider, as its marks, files and calls say it."""

from __future__ import annotations

import pytest

from tests.acceptance.projects import Project


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    return Project(pytester)


class TestTheLengthOfAnAnswer:
    """However a provider calls it, it is one setting."""

    @pytest.mark.parametrize("name", ["max_completion_tokens", "max_output_tokens", "num_predict"])
    @pytest.mark.parametrize("place", ["mark", "file"])
    def test_every_spelling_is_max_tokens(self, project: Project, name: str, place: str) -> None:
        in_file, in_mark = ("", f", {name}=9") if place == "mark" else (f"{name}: 9", "")
        project.write(
            "prompts/a.md", f"---\nparameters: {{top_p: 0.5, {in_file}}}\n---\nSay: {{{{ word }}}}\n"
        )
        project.tests(
            f'@pytest.mark.prompt("prompts/a.md"{in_mark})\ndef test_it(prompt):\n    prompt(word="a")\n'
        )
        project.run().assert_outcomes(passed=1)
        [call] = project.asked()
        spelled = {name: 9} if name == "max_completion_tokens" else {}
        assert (call["max_tokens"], call["parameters"]) == (9, {"top_p": 0.5, **spelled})

    def test_the_mark_wins_over_the_file_whatever_the_spelling(self, project: Project) -> None:
        project.write("prompts/a.md", "---\nparameters: {max_completion_tokens: 9}\n---\nSay: {{ word }}\n")
        project.tests(
            '@pytest.mark.prompt("prompts/a.md", max_tokens=5)\ndef test_it(prompt):\n    prompt(word="a")\n'
        )
        project.run().assert_outcomes(passed=1)
        [call] = project.asked()
        assert (call["max_tokens"], call["parameters"]) == (5, {})

    @pytest.mark.parametrize(
        ("front", "said"),
        [
            (
                "max_tokens: 50\nparameters:\n  max_completion_tokens: 9",
                "a.md:4: `max_completion_tokens` is",
            ),
            (
                "parameters:\n  num_predict: 9\n  max_output_tokens: 9",
                "a.md:3: `num_predict` is the same",
            ),
            ("parameters:\n  num_predict: many", "a.md:3: `num_predict` must be a whole number from 1, got"),
        ],
    )
    def test_a_file_sets_it_once(self, project: Project, front: str, said: str) -> None:
        project.write("prompts/a.md", f"---\n{front}\n---\nSay: {{{{ word }}}}\n")
        project.tests('@pytest.mark.prompt("prompts/a.md")\ndef test_it(prompt):\n    prompt(word="a")\n')
        assert said in project.run().stdout.str()

    def test_a_mark_sets_it_once(self, project: Project) -> None:
        project.tests(
            '@pytest.mark.prompt("prompts/repeat.md", max_tokens=5, num_predict=9)\n'
            'def test_it(prompt):\n    prompt(word="a")\n'
        )
        said = "*@pytest.mark.prompt(max_tokens=..., num_predict=...): num_predict is the same setting as*"
        project.run().stdout.fnmatch_lines([said])


def test_a_pydantic_model_is_a_schema(project: Project) -> None:
    project.tests("""
        from pydantic import BaseModel

        class Invoice(BaseModel):
            amount: int

        @pytest.mark.prompt("prompts/repeat.md")
        def test_it(prompt):
            assert prompt(word="40", response_schema=Invoice).json() == 40
    """)
    project.run().assert_outcomes(passed=1)
    assert project.asked()[0]["schema"]["properties"] == {"amount": {"title": "Amount", "type": "integer"}}


def test_a_refused_schema_is_placed(project: Project) -> None:
    project.write(
        "conftest.py",
        (project.path / "conftest.py").read_text() + "\ndef said(request):\n"
        "    raise ModelError(ErrorKind.BAD_REQUEST, 'HTTP 400: Invalid schema for response_format')\n",
    )
    project.tests("""
        @pytest.mark.prompt("prompts/repeat.md")
        def test_it(prompt):
            prompt(word="40", response_schema={"type": "object"})
    """)
    said = "*test_it.py:*: response_schema= was refused: HTTP 400: Invalid schema for response_format*"
    project.run().stdout.fnmatch_lines([said])


@pytest.mark.parametrize("workers", [0, 2])
def test_what_looks_like_a_chat_and_is_none_is_said_once(project: Project, workers: int) -> None:
    project.write("prompts/chat.md", "Human:\nRepeat: {{ word }}\n")
    project.tests("""
        @pytest.mark.prompt("prompts/chat.md")
        @pytest.mark.parametrize("word", ["a", "b"])
        def test_it(prompt, word):
            assert prompt(word=word) == word
    """)
    result = project.run("-q", workers=workers)
    result.assert_outcomes(passed=2)
    assert result.stdout.str().count("promptopt: prompts/chat.md:1: `Human:` is text and no role") == 1
