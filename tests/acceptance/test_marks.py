"""Wherever pytest takes a mark and a fixture, a prompt test works like any other test."""

from __future__ import annotations

import fnmatch

import pytest

from tests.acceptance.projects import UNITTEST, Project


def test_a_parametrized_function_is_one_case_for_each_value(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize("word", ["yes", "no", "yes please"])
        def test_word(prompt, word):
            assert prompt(word=word).startswith("yes")
        """
    )
    result = project.run("--strict-markers")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*test_it.py::test_word?no?*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_the_mark_on_a_class_a_module_and_a_method(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.write("prompts/shout.md", "Shout: {{ word }}!")
    project.tests(
        """
        pytestmark = pytest.mark.prompt("prompts/repeat.md")

        def test_of_the_module(prompt):
            assert prompt(word="a") == "a"

        @pytest.mark.prompt("prompts/shout.md")
        class TestClass:
            def test_of_the_class(self, prompt):
                assert prompt(word="a") == "a!"

            @pytest.mark.prompt("prompts/repeat.md")
            def test_of_its_own(self, prompt):
                assert prompt(word="a") == "a"
        """
    )
    result = project.run()
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["promptopt: 2 prompts, cases: 3 train, 0 validation, 0 held-out"])
    assert len(project.asked()) == 2


def test_a_unittest_class_gets_the_prompt_from_an_autouse_fixture(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.tests(UNITTEST)
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)


@pytest.mark.parametrize("library", ["asyncio", "anyio"])
def test_async_tests_await_the_answer(pytester: pytest.Pytester, library: str) -> None:
    project = Project(pytester, "asyncio_default_fixture_loop_scope = function")
    project.tests(
        f"""
        import asyncio

        pytestmark = [pytest.mark.prompt("prompts/repeat.md"), pytest.mark.{library}]

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        async def test_one(prompt):
            assert await prompt.acall(word="a") == "a"

        async def test_two_at_once(prompt):
            assert await asyncio.gather(*(prompt.acall(word=word) for word in "bc")) == ["b", "c"]

        async def test_wrong(prompt):
            assert await prompt.acall(word="d") == "e"
        """
    )
    result = pytester.runpytest_inprocess("--strict-markers")
    result.assert_outcomes(passed=2, failed=1)
    assert sorted(call["messages"][0][1][-1] for call in project.asked()) == ["a", "b", "c", "d"]


class TestModel:
    @pytest.fixture
    def project(self, pytester: pytest.Pytester) -> Project:
        project = Project(pytester)
        project.write(
            "prompts/own.md",
            """
            ---
            model: house/of-the-file
            temperature: 0.5
            max_tokens: 50
            stop: END
            parameters: {top_p: 0.9}
            ---
            Repeat: {{ word }}
            """,
        )
        return project

    def test_the_option_is_for_prompts_that_name_none(self, project: Project) -> None:
        project.tests(
            """
            @pytest.mark.prompt("prompts/repeat.md")
            def test_it(prompt):
                answer = prompt(word="a")
                assert answer.model == "house/of-the-option"
            """
        )
        project.run("--promptopt-model=house/of-the-option").assert_outcomes(passed=1)
        assert [(c["model"], c["parameters"], c["stop"]) for c in project.asked()] == [
            ("house/of-the-option", {}, [])
        ]

    def test_the_front_matter_beats_the_option(self, project: Project) -> None:
        project.tests(
            """
            @pytest.mark.prompt("prompts/own.md")
            def test_it(prompt):
                assert prompt(word="a") == "a"
            """
        )
        project.run("--promptopt-model=house/of-the-option").assert_outcomes(passed=1)
        (call,) = project.asked()
        assert call["model"] == "house/of-the-file"
        assert (call["max_tokens"], call["stop"]) == (50, ["END"])
        assert call["parameters"] == {"temperature": 0.5, "top_p": 0.9}

    def test_the_mark_beats_the_front_matter_parameter_by_parameter(self, project: Project) -> None:
        project.tests(
            """
            parameters = {"temperature": 0, "max_tokens": 9, "stop": ["A", "B"]}

            @pytest.mark.prompt("prompts/own.md", model="house/of-the-mark", **parameters)
            def test_it(prompt):
                assert prompt(word="a") == "a"
            """
        )
        project.run("--promptopt-model=house/of-the-option").assert_outcomes(passed=1)
        (call,) = project.asked()
        assert call["model"] == "house/of-the-mark"
        assert (call["max_tokens"], call["stop"]) == (9, ["A", "B"])
        assert call["parameters"] == {"temperature": 0, "top_p": 0.9}


class TestPipeline:
    def test_each_stage_has_its_prompt(self, pytester: pytest.Pytester) -> None:
        project = Project(pytester)
        project.write("prompts/plan.md", "Plan: {{ task }} plan")
        project.write("prompts/code.md", "Code: {{ plan }} code")
        project.tests(
            """
            @pytest.mark.prompt(plan="prompts/plan.md", code="prompts/code.md")
            def test_it(prompts):
                plan = prompts["plan"](task="sort")
                assert prompts["code"](plan=plan) == "sort plan code"
                assert list(prompts) == ["plan", "code"]
            """
        )
        result = project.run()
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(["promptopt: 2 prompts, cases: 1 train, *"])

    def test_what_does_not_fit_says_what_would(self, pytester: pytest.Pytester) -> None:
        project = Project(pytester)
        project.tests(
            """
            @pytest.mark.prompt(plan="prompts/repeat.md")
            def test_no_such_stage(prompts):
                prompts["code"](word="a")

            @pytest.mark.prompt(plan="prompts/repeat.md")
            def test_single(prompt):
                prompt(word="a")
            """
        )
        result = project.run()
        result.assert_outcomes(errors=2)
        result.stdout.fnmatch_lines(
            [
                "test_it.py:7: the mark names stages plan; use the*",
                "*the case has no stage 'code'; its stages are 'plan'*",
            ]
        )


def test_what_a_test_can_read_from_the_prompt(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.write("prompts/long.md", "---\nmax_tokens: 5\n---\nSay {{ a }}\nand: {{ b }}\n")
    project.tests(
        """
        from pathlib import Path

        @pytest.mark.prompt("prompts/long.md")
        def test_it(prompt):
            assert prompt.text == "Say {{ a }}\\nand: {{ b }}"
            assert prompt.path == Path(__file__).parent / "prompts" / "long.md"
            assert prompt.variables == {"a", "b"}
            assert prompt.attempt == 0
            answer = prompt(a=1, b=2)
            assert isinstance(answer, str)
            assert (answer, answer.json(), answer.model) == ("2", 2, "house/repeat")
            assert (answer.stop_reason, answer.cost, answer.usage.input_tokens) == ("end_turn", 0.001, 10)
            assert prompt.attempt == 0
        """
    )
    project.run().assert_outcomes(passed=1)


def test_a_conversation_and_a_schema(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md")
        def test_chat(prompt):
            turns = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"},
                     {"role": "user", "content": "and: three"}]
            assert prompt(word="a", messages=turns) == "three"

        @pytest.mark.prompt("prompts/repeat.md")
        def test_json(prompt):
            schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
            assert prompt(word='{"a":1}', response_schema=schema).json() == {"a": 1}
        """
    )
    project.run().assert_outcomes(passed=2)
    chat, schema = project.asked()
    assert chat["messages"] == [
        ["system", "Repeat: a"],
        ["user", "one"],
        ["assistant", "two"],
        ["user", "and: three"],
    ]
    assert (chat["schema"], schema["schema"]["properties"]) == (None, {"a": {"type": "integer"}})


def test_a_prompt_is_found_beside_the_test_and_then_below_rootdir(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.write("tests/near.md", "Near: {{ word }}")
    project.tests(
        """
        @pytest.mark.prompt("near.md")
        def test_near(prompt):
            assert prompt(word="a") == "a"

        @pytest.mark.prompt("prompts/repeat.md")
        def test_root(prompt):
            assert prompt(word="a") == "a"

        @pytest.mark.prompt("../prompts/repeat.md")
        def test_relative(prompt):
            assert prompt(word="a") == "a"
        """,
        name="tests/test_it.py",
    )
    result = project.run()
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["promptopt: 2 prompts, cases: 3 train, *"])


def test_a_fixture_of_a_higher_scope_cannot_ask_for_the_prompt(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.tests(
        """
        @pytest.fixture(scope="module")
        def answer(prompt):
            return prompt(word="a")

        @pytest.mark.prompt("prompts/repeat.md")
        def test_it(answer):
            assert answer == "a"
        """
    )
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["ScopeMismatch: You tried to access the function scoped fixture prompt with*"]
    )
    assert project.asked() == []


def test_a_fixture_of_function_scope_can(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.tests(
        """
        @pytest.fixture
        def answer(prompt):
            return prompt(word="a")

        @pytest.mark.prompt("prompts/repeat.md")
        def test_it(answer):
            assert answer == "a"
        """
    )
    project.run().assert_outcomes(passed=1)
    assert len(project.asked()) == 1


@pytest.mark.parametrize("fixture", ["prompt", "prompts"])
@pytest.mark.parametrize(
    "other", ["", '@pytest.mark.prompt("prompts/repeat.md")\ndef test_other(prompt): prompt(word="a")\n']
)
def test_the_fixture_without_the_mark_says_so(pytester: pytest.Pytester, fixture: str, other: str) -> None:
    project = Project(pytester)
    project.tests(f"def test_it({fixture}): pass\n{other}")
    result = project.run()
    result.assert_outcomes(errors=1, passed=int(bool(other)))
    result.stdout.fnmatch_lines(
        [
            "*ERROR at setup of test_it*",
            f"test_it.py::test_it uses the fixture '{fixture}' but has no @pytest.mark.prompt(*",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*During handling*")


class TestFreeze:
    STAGES = """
        @pytest.mark.prompt(sort="prompts/sort.md", judge="prompts/judge.md"{freeze})
        @pytest.mark.parametrize("word", ["a", "b"])
        def test_it(prompts, word):
            assert prompts["judge"](word=prompts["sort"](word=word)) == "pass"
        """

    @pytest.fixture
    def project(self, pytester: pytest.Pytester) -> Project:
        project = Project(pytester, "promptopt_optimizer_model = house/optimizer")
        project.write("prompts/sort.md", "Sort: {{ word }}\n")
        project.write("prompts/judge.md", "Judge: {{ word }}\n")
        return project

    def rewritten(self, project: Project) -> set[str]:
        """The prompts that the optimizer was asked for, by a line of theirs."""
        asked = [call["messages"] for call in project.asked() if call["model"] == "house/optimizer"]
        texts = ["\n".join(content for _, content in messages) for messages in asked]
        parts = [text.partition("<prompt")[2].partition("</prompt")[0] for text in texts]
        return {name for part in parts for name in ("Sort: {{", "Judge: {{") if name in part}

    @pytest.mark.parametrize("freeze", ['"judge"', '("judge",)', '["judge"]'])
    def test_a_frozen_stage_is_never_rewritten(self, project: Project, freeze: str) -> None:
        project.tests(self.STAGES.format(freeze=f", freeze={freeze}"))
        result = project.run("--optimize-dry-run", "--tb=no", "--promptopt-max-iterations=3")
        result.stdout.fnmatch_lines(["*prompts/sort.md: training*"])
        result.stdout.no_fnmatch_line("*prompts/judge.md:*")
        assert "Judge: {{" not in self.rewritten(project)

    def test_without_freeze_it_is(self, project: Project) -> None:
        project.tests(self.STAGES.format(freeze=""))
        result = project.run("--optimize-dry-run", "--tb=no", "--promptopt-max-iterations=3")
        result.stdout.fnmatch_lines(["*prompts/judge.md*: training*"])

    @pytest.mark.parametrize(
        ("words", "freeze", "expected", "told"),
        [
            ("abcd", "", '"pass"', True),
            ("abcd", ', freeze="judge"', '"pass"', False),
            ("abcd", "", "word", False),  # a last stage that answers
            ("abc", "", '"pass"', False),  # which may be chance
        ],
    )
    def test_a_last_stage_that_may_judge_is_told_of(
        self, project: Project, words: str, freeze: str, expected: str, told: bool
    ) -> None:
        stages = self.STAGES.replace('["a", "b"]', repr(list(words))).replace('"pass"', expected)
        project.tests(stages.format(freeze=freeze))
        result = project.run("--optimize-dry-run", "--tb=no", "--promptopt-max-iterations=1")
        said = "*all 4 cases expect \"pass\" of prompts/judge.md: * keep it with freeze='judge'"
        assert bool(fnmatch.filter(result.outlines, said)) is told

    def test_frozen_by_one_test_it_is_frozen_for_all(self, project: Project) -> None:
        project.tests(
            self.STAGES.format(freeze="")
            + """
        @pytest.mark.prompt("prompts/judge.md", freeze=True)
        def test_judge(prompt):
            assert prompt(word="x") == "fail"
        """
        )
        result = project.run("--optimize-dry-run", "--tb=no", "--promptopt-max-iterations=2")
        result.stdout.no_fnmatch_line("*prompts/judge.md:*")

    def test_when_all_are_frozen_there_is_nothing_to_optimize(self, project: Project) -> None:
        project.tests(self.STAGES.format(freeze=", freeze=True"))
        result = project.run("--optimize")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["ERROR: --optimize: every prompt is frozen*"])

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ("3", "must be True, False or the names of stages"),
            ("'jugde'", "'jugde' is not a stage of the mark"),
        ],
    )
    def test_what_it_does_not_know_is_named(self, project: Project, given: str, said: str) -> None:
        project.tests(self.STAGES.format(freeze=f", freeze={given}"))
        result = project.run()
        result.stdout.fnmatch_lines([f"*test_it.py:3: @pytest.mark.prompt(freeze={given})*{said}*"])
