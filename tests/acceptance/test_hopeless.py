"""Where no case can fare better than the first one, a suite says so once and stops."""

from __future__ import annotations

import pytest

from tests.wire import WireServer, refused

SUITE = """
    import pytest

    @pytest.mark.prompt("echo.md")
    @pytest.mark.parametrize("word", ["one", "two", "three"])
    def test_echo(prompt, word):
        assert prompt(word=word) == word
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    pytester.path.joinpath("echo.md").write_text("Repeat {{ word }}\n", encoding="utf-8")
    pytester.makepyfile(SUITE)
    return pytester


def test_without_a_model_the_first_case_says_how_to_name_one_and_the_session_stops(
    suite: pytest.Pytester,
) -> None:
    result = suite.runpytest("-p", "no:asyncio")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*echo.md: no model to ask; set --promptopt-model=*`demo` needs no key*"])
    result.stdout.fnmatch_lines(["!*no model can be asked: echo.md: no model to ask*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_without_a_key_the_first_case_says_which_variable_to_set_and_the_session_stops(
    suite: pytest.Pytester,
) -> None:
    result = suite.runpytest("-p", "no:asyncio", "--promptopt-model=claude-haiku-4-5")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["!*no model can be asked: *ANTHROPIC_API_KEY*"])


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
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["!*no model can be asked: echo.md:4: `top_p` was refused: *not permitted*"])
