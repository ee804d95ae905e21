"""A model that cannot be asked costs its own cases, without a call; every other test runs."""

from __future__ import annotations

import pytest

from tests.wire import WireServer, refused

SUITE = """
    import pytest

    @pytest.mark.prompt("echo.md")
    @pytest.mark.parametrize("word", ["one", "two", "three"])
    def test_echo(prompt, word):
        assert prompt(word=word) == word

    def test_arithmetic():
        assert 1 + 1 == 2
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    pytester.path.joinpath("echo.md").write_text("Repeat {{ word }}\n", encoding="utf-8")
    pytester.makepyfile(SUITE)
    return pytester


def test_without_a_model_every_case_says_how_to_name_one(
    suite: pytest.Pytester,
) -> None:
    result = suite.runpytest("-p", "no:asyncio")
    result.assert_outcomes(errors=3, passed=1)
    result.stdout.fnmatch_lines(["*echo.md: no model to ask; set --promptopt-model=*`demo` needs no key*"])
    result.stdout.fnmatch_lines(["promptopt: 3 cases not answered: echo.md: no model to ask*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_without_a_key_the_summary_says_once_which_variable_to_set(
    suite: pytest.Pytester,
) -> None:
    result = suite.runpytest("-p", "no:asyncio", "--promptopt-model=claude-haiku-4-5")
    result.assert_outcomes(errors=3, passed=1)
    result.stdout.fnmatch_lines(["promptopt: 3 cases not answered: *claude-haiku-4-5: *ANTHROPIC_API_KEY*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_parameter_that_the_provider_refuses_is_shown_with_the_line_that_sets_it(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = "---\nmodel: claude-haiku-4-5\nparameters:\n  top_p: 0.5\n---\nRepeat {{ word }}\n"
    suite.path.joinpath("echo.md").write_text(prompt, encoding="utf-8")
    with WireServer() as server:
        server.script(*[refused(400, "top_p: Extra inputs are not permitted")] * 3)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test-0123456789")
        result = suite.runpytest("-p", "no:asyncio")
    result.assert_outcomes(errors=3, passed=1)
    result.stdout.fnmatch_lines(
        ["promptopt: 3 cases not answered: echo.md:4: `top_p` was refused: *not permitted*"]
    )


OTHERS = """
    from pytest_promptopt.models.demo import DemoModel
    from pytest_promptopt.errors import ErrorKind, ModelError

    class House:
        async def complete(self, request):
            if request.model == "house/broke":
                raise ModelError(ErrorKind.PAYMENT, "house/broke: no credit", model=request.model)
            return await DemoModel().complete(request)
        async def aclose(self): ...

    def pytest_promptopt_resolve_model(name):
        return House() if name.startswith("house/") else None
"""


def test_the_cases_of_other_models_are_answered(suite: pytest.Pytester) -> None:
    suite.makeconftest(OTHERS)
    suite.makepyfile(
        """
        import pytest

        @pytest.mark.prompt("echo.md", model="house/broke")
        @pytest.mark.parametrize("word", ["one", "two"])
        def test_broke(prompt, word):
            prompt(word=word)

        @pytest.mark.prompt("echo.md", model="house/fine")
        def test_fine(prompt):
            assert prompt(word="one")
        """
    )
    result = suite.runpytest("-p", "no:asyncio")
    result.assert_outcomes(errors=2, passed=1)
    result.stdout.fnmatch_lines(["promptopt: 2 cases not answered: house/broke: no credit"])


def test_an_optimization_goes_on_with_the_cases_of_other_models(suite: pytest.Pytester) -> None:
    suite.makeconftest(OTHERS)
    suite.path.joinpath("sort.md").write_text("One of these: red, blue.\n\n{{ text }}\n", encoding="utf-8")
    suite.makepyfile(
        """
        import pytest

        @pytest.mark.prompt("echo.md", model="house/broke")
        def test_broke(prompt):
            prompt(word="one")

        @pytest.mark.prompt("sort.md", model="house/fine")
        @pytest.mark.parametrize(("text", "color"), [("a red one", "red"), ("a blue one", "blue")])
        def test_sort(prompt, text, color):
            assert prompt(text=text) == color
        """
    )
    result = suite.runpytest("-p", "no:asyncio", "--optimize-dry-run", "--promptopt-optimizer-model=demo")
    result.stdout.fnmatch_lines(["*before: 0.0% of 2 training cases*"])
    result.stdout.fnmatch_lines(["*1 case not answered: house/broke: no credit"])
