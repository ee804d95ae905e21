"""pytest's own options show and do what they do without the plugin."""

from __future__ import annotations

import sys

import pytest

from tests.acceptance.conftest import Example

#: Every kind of outcome, calls in one and in two steps, a module without cases in between.
SUITE = {
    "test_a.py": """
        import logging, warnings

        @pytest.fixture(scope="module")
        def shared():
            note("shared up")
            yield
            note("shared down")

        @pytest.mark.parametrize("word", ["a", "b", "c"])
        def test_word(prompt, word, shared):
            print(f"out {word}")
            logging.warning("log %s", word)
            assert prompt(q=prompt(q=word) + "!") == "b!"

        def test_warning(prompt):
            warnings.warn("mine")
            assert prompt(q="w") == "w"
        """,
    "test_b.py": """
        class TestIt:
            def test_passes(self, prompt): assert prompt(q="a") == "a"
            def test_skips(self, prompt): prompt(q="d") and pytest.skip("as said")
            def test_fails(self, prompt): assert prompt(q="d") == "a"
            @pytest.mark.xfail(reason="known")
            def test_xfails(self, prompt): assert prompt(q="d") == "a"
            def test_without(self): note("without")

        @pytest.fixture
        def broken(): raise OSError("broken")
        def test_error(broken, prompt): pass
        """,
}

OPTIONS = [
    "",
    "-x",
    "--maxfail=2",
    "-k word",
    "-k 'not fails and not word'",
    "-q",
    "-qq",
    "-v",
    "-vv",
    "-rA",
    "--no-header",
    "--no-summary",
    "--collect-only",
    "--collect-only -q",
    "--junit-xml=junit.xml",
    "--junit-xml=junit.xml -o junit_logging=all -o junit_family=xunit1 -o junit_log_passing_tests=false",
    "--durations=3 --durations-min=60 -k without",
    "-W error",
    "-W ignore",
    "-o log_cli=true",
    "-o log_cli=true -o log_cli_level=INFO -v",
    "--show-capture=no",
    "--tb=short",
    "--tb=line",
    "--tb=native -k 'not error'",
    "-l",
    "--assert=plain",
    "-p no:terminal",
    "-p no:logging",
    "-p no:warnings -k 'not warning'",
    "-p no:subtests",
    "-p no:junitxml",
    "-p no:threadexception -p no:unraisableexception",
    "-p no:skipping",
    "-p no:cacheprovider",
    "-p no:tmpdir",
    "-p timeout --timeout=30",
    "--runxfail",
    "--import-mode=importlib",
    "--deselect=test_a.py::test_warning",
    "test_b.py test_a.py",
    "test_b.py::TestIt::test_fails",
    "--setup-show test_b.py",
    "--setup-plan",
    "--setup-only test_b.py",
    "-o console_output_style=progress",
    "-o console_output_style=times -k without",
    "-o console_output_style=count",
    "-o verbosity_assertions=2",
]


@pytest.fixture
def suite(example: Example) -> Example:
    for name, source in SUITE.items():
        example.tests(source, name=name)
    return example


def _split(options: str) -> list[str]:
    import shlex

    return shlex.split(options)


@pytest.mark.parametrize("options", OPTIONS)
def test_shows_what_it_shows_without_the_plugin(suite: Example, options: str) -> None:
    suite.runs_as_without_plugin(*_split(options))


@pytest.mark.parametrize(
    "options", ["-s", "-s -v", "--capture=sys -rA", "--capture=tee-sys", "-s -o log_cli=true"]
)
def test_writes_what_it_writes_without_the_plugin(suite: Example, options: str) -> None:
    suite.runs_as_without_plugin(*_split(options), process=True)


@pytest.mark.parametrize("options", ["--lf", "--lf --lfnf=none", "--ff", "--sw", "--sw --sw-skip", "--nf"])
def test_remembers_what_it_remembers_without_the_plugin(suite: Example, options: str) -> None:
    shown = {}
    for plugin in (True, False):
        suite.forget()
        runs = [suite.run(*_split(options), plugin=plugin) for _ in range(3)]
        shown[plugin] = [(run.ret, run.outcomes, run.notes, run.shown.splitlines()) for run in runs]
    assert shown[True] == shown[False]


def test_a_log_file_holds_each_record_once_and_in_order(suite: Example) -> None:
    options = ("--log-file=log.txt", "--log-file-level=INFO", "--log-format=%(message)s")
    suite.run(*options)
    ours = (suite.path / "log.txt").read_text(encoding="utf-8")
    suite.run(*options, plugin=False)
    assert ours == (suite.path / "log.txt").read_text(encoding="utf-8")
    assert ours.count("log b") == 1


@pytest.mark.parametrize(
    "options", ["--collect-only", "--setup-plan", "--setup-only", "--fixtures", "--markers"]
)
def test_nothing_is_asked_when_nothing_is_run(example: Example, options: str) -> None:
    example.tests(
        """
        @pytest.fixture
        def said(prompt):
            return prompt(q="a")

        @pytest.mark.parametrize("number", range(3))
        def test_it(prompt, number): assert prompt(q=number) == number
        """
    )
    assert example.run(options).asked == ()


def test_under_setup_only_a_fixture_asks_when_it_is_set_up(example: Example) -> None:
    example.tests(
        """
        @pytest.fixture
        def said(prompt, number):
            note(f"{number} up")
            return prompt(q=number)

        @pytest.mark.parametrize("number", range(3))
        def test_it(said): pass
        """
    )
    run = example.runs_as_without_plugin("--setup-only")
    assert run.asked == ("0", "1", "2")
    assert run.peak == 1


def test_a_collection_error_stops_before_anything_is_asked(suite: Example) -> None:
    run = suite.files({"test_c.py": "import nothing_of_this_name"}).runs_as_without_plugin()
    assert run.ret == 2
    assert run.asked == ()


@pytest.mark.parametrize("options", ["-x", "--maxfail=1", "--sw"])
def test_after_enough_failures_no_more_cases_start(example: Example, options: str) -> None:
    example.tests(
        """
        @pytest.mark.parametrize("number", range(20))
        def test_it(prompt, number):
            assert prompt(q=number) != "0"
        """
    )
    run = example.run(options, "--promptopt-concurrency=2")
    assert run.outcomes == {"failed": 1}
    assert len(run.asked) <= 2 * 2, "what was started before the first answer came"


def test_under_x_a_failed_subtest_ends_its_test(example: Example) -> None:
    example.tests(
        """
        def test_it(prompt, subtests):
            for word in "abcd":
                with subtests.test(word=word):
                    note(word) if prompt(q=word) else None
                    assert prompt(q=word) != "b"
            note("end")
        """
    ).run()
    example.runs_as_without_plugin("-x", "-v")


@pytest.mark.parametrize("ends", ["raise KeyboardInterrupt", "pytest.exit('enough', 7)"])
@pytest.mark.parametrize("options", ["", "-v -s", "-o log_cli=true"])
def test_a_session_that_a_test_ends(example: Example, ends: str, options: str) -> None:
    example.tests(
        f"""
        import logging

        @pytest.fixture(scope="module")
        def shared():
            note("up")
            yield
            note("down")

        def test_first(prompt, shared): assert prompt(q="a") == "a"

        def test_last(prompt, shared):
            print("before"); logging.warning("before")
            prompt(q=prompt(q="b") + "!")
            {ends}
        """
    ).runs_as_without_plugin(*_split(options), process=True)


@pytest.mark.parametrize("asks", ["prompt(q='b')", "pass"])
@pytest.mark.parametrize("ends", ["pytest.exit('enough')", "raise KeyboardInterrupt"])
def test_a_test_ends_the_session_at_its_turn(example: Example, asks: str, ends: str) -> None:
    example.tests(
        f"""
        def test_first(prompt): assert prompt(q=prompt(q="a") + "!") == "a!"

        def test_second(prompt):
            {asks}
            {ends}

        def test_third(prompt): assert prompt(q=prompt(q="c") + "!") == "c!"
        """
    ).runs_as_without_plugin("-v", process=True)


def test_a_case_that_takes_too_long_is_stopped(example: Example) -> None:
    example.tests(
        """
        import time

        def test_it(prompt):
            prompt(q="a")
            time.sleep(5)

        def test_next(prompt):
            assert prompt(q="b") == "b"
        """
    )
    run = example.run("-p", "timeout", "--timeout=0.2")
    assert run.outcomes == {"failed": 1, "passed": 1}
    assert "Timeout (>0.2s)" in run.output


PDB = """
class Pdb:
    quitting = False

    def __init__(self, *args, **kwargs): pass
    def reset(self): pass
    def interaction(self, frame, traceback): note("debugger at " + _function(traceback))
    def set_trace(self, frame): note("debugger in " + frame.f_code.co_name)

def _function(traceback):
    while traceback.tb_next:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code.co_name
"""


@pytest.fixture
def debugger(example: Example) -> Example:
    """A debugger that writes down where it was opened."""
    house = (example.path / "house.py").read_text(encoding="utf-8")
    return example.files({"house.py": house + PDB})


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the stand-in knows the debugger's older interface")
@pytest.mark.parametrize("options", ["--pdb", "--pdb -x", "--pdb -s"])
def test_the_debugger_opens_on_failures_and_on_nothing_else(debugger: Example, options: str) -> None:
    debugger.tests(
        """
        def test_passes(prompt): assert prompt(q=prompt(q="a") + "!") == "a!"
        def test_fails(prompt):
            print("before")
            assert prompt(q=prompt(q="b") + "!") == "c"
        def test_sub(prompt, subtests):
            for word in "bc":
                with subtests.test(word=word):
                    assert prompt(q=word) == "a"
        def test_breaks(prompt):
            prompt(q="c")
            breakpoint()
        """
    )
    # In a process of its own: pytest keeps the debugger's class for as long as it is loaded.
    run = debugger.runs_as_without_plugin("--pdbcls=house:Pdb", *_split(options), process=True)
    assert run.notes[0] == "debugger at test_fails"


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the stand-in knows the debugger's older interface")
@pytest.mark.parametrize(
    "opens", ["pytest.set_trace()", "set_trace()", "pdb.set_trace()", "traced()", "breakpoint()"]
)
def test_a_debugger_opens_once_in_each_test(debugger: Example, opens: str) -> None:
    debugger.tests(
        f"""
        import pdb
        from pytest import set_trace
        from pdb import set_trace as traced

        @pytest.mark.prompt("say.md", samples=3)
        @pytest.mark.parametrize("word", "abc")
        def test_it(prompt, word):
            assert prompt(q=word) == word
            {opens}
            note("after")
        """
    )
    run = debugger.run("--pdbcls=house:Pdb", process=True)
    assert run.outcomes == {"passed": 3}
    assert [note for note in run.notes if note != "after"] == ["debugger in test_it"] * 3


@pytest.mark.parametrize("options", ["--setup-show", "--setup-plan", "--setup-only"])
def test_setups_are_shown_once_whatever_the_samples(example: Example, options: str) -> None:
    example.tests(
        """
        @pytest.fixture(scope="module")
        def shared(): ...

        @pytest.fixture
        def own(shared): ...

        @pytest.mark.prompt("say.md", samples=3)
        def test_it(prompt, own):
            assert prompt(q="a") == "a"
        """
    )
    example.runs_as_without_plugin(options)


def test_workers_run_what_one_process_runs(suite: Example) -> None:
    ours = suite.run("-p", "xdist", "-n2", "-v", process=True)
    plain = suite.run("-p", "xdist", "-n2", "-v", process=True, plugin=False)
    assert (ours.ret, ours.outcomes) == (plain.ret, plain.outcomes)
    assert sorted(set(ours.asked)) == sorted(ours.asked), "each question is asked by one worker"
    assert "promptopt" not in plain.output
    for line in ("test_a.py::test_word[b]", "test_b.py::TestIt::test_passes"):
        assert f"PASSED {line}" in ours.output
