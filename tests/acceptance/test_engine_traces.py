"""A suspended run leaves no trace: pytest shows, stores and counts what it does without the plugin."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import Example

#: Each leaves something behind in a run of its own, before and after its two calls.
TRACES = {
    "captured output and logs": """
        import logging, sys

        def test_it(prompt):
            print("out before"); print("err before", file=sys.stderr); logging.warning("log before")
            prompt(q=prompt(q="a") + "b")
            print("out after"); logging.warning("log after")
            assert not "shown"
        """,
    "user properties": """
        def test_it(prompt, record_property):
            record_property("before", 1)
            record_property("said", prompt(q=prompt(q="a") + "!"))
        """,
    "xml attributes": """
        def test_it(prompt, record_xml_attribute):
            record_xml_attribute("assertions", prompt(q=prompt(q="a") + "!"))
        """,
    "properties of the suite": """
        @pytest.fixture(scope="session")
        def inner(record_testsuite_property):
            record_testsuite_property("inner", 1)

        @pytest.fixture(scope="session")
        def shared(request, record_testsuite_property):
            record_testsuite_property("shared", 1)
            request.getfixturevalue("inner")

        @pytest.fixture(scope="module")
        def late(record_testsuite_property):
            record_testsuite_property("late", 1)

        def test_it(prompt, shared, request, record_testsuite_property):
            request.getfixturevalue("late")
            record_testsuite_property("before", 1)
            record_testsuite_property("said", prompt(q=prompt(q="a") + "!"))
        """,
    "class instance": """
        class TestIt:
            seen = 0

            def test_it(self, prompt):
                self.seen += 1
                prompt(q=prompt(q="a") + "!")
                assert self.seen == 1

            def test_two(self, prompt):
                assert prompt(q=self.seen) == "0"
        """,
    "failed subtests": """
        def test_it(prompt, subtests):
            for word in "abc":
                with subtests.test(word=word):
                    assert prompt(q=word) == "b"
        """,
    "skipped subtests": """
        def test_it(prompt, subtests):
            for word in "abc":
                with subtests.test(word=word):
                    if prompt(q=word) == "b":
                        pytest.skip("no b")
        """,
    "warnings": """
        import warnings

        def test_it(prompt):
            warnings.warn("before")
            prompt(q=prompt(q="a") + "!")
            warnings.warn("after")
        """,
    "thread exceptions": """
        import threading

        def test_it(prompt):
            thread = threading.Thread(target=lambda: int(prompt(q=prompt(q="a") + "!")), name="mine")
            thread.start()
            thread.join()
        """,
    "marks": """
        def test_it(prompt, request):
            assert not list(request.node.iter_markers("xfail"))
            request.node.add_marker(pytest.mark.xfail(reason="known"))
            assert prompt(q=prompt(q="a") + "!") == "b"
        """,
    "tmp_path": """
        def test_it(prompt, tmp_path):
            assert not list(tmp_path.iterdir())
            (tmp_path / "file").touch()
            prompt(q=prompt(q=tmp_path.name) + "!")
        """,
    "monkeypatch": """
        import os

        def test_it(prompt, monkeypatch, tmp_path):
            assert "PROMPTOPT_TRACE" not in os.environ
            monkeypatch.setenv("PROMPTOPT_TRACE", "1")
            monkeypatch.chdir(tmp_path)
            prompt(q=prompt(q="a") + "!")
            assert os.environ["PROMPTOPT_TRACE"] == "1"
        """,
    "recwarn": """
        import warnings

        def test_it(prompt, recwarn):
            warnings.warn("mine")
            prompt(q=prompt(q="a") + "!")
            assert [str(each.message) for each in recwarn] == ["mine"]
        """,
    "caplog": """
        import logging

        def test_it(prompt, caplog):
            with caplog.at_level(logging.INFO):
                logging.info("mine")
                prompt(q=prompt(q="a") + "!")
            assert caplog.messages == ["mine"]
        """,
    "capsys": """
        def test_it(prompt, capsys):
            print("mine")
            prompt(q=prompt(q="a") + "!")
            assert capsys.readouterr().out == "mine\\n"
            print("shown")
            assert not "shown"
        """,
    "capfd": """
        import os

        def test_it(prompt, capfd):
            os.write(1, b"mine")
            prompt(q=prompt(q="a") + "!")
            assert capfd.readouterr().out == "mine"
        """,
    "outcomes": """
        @pytest.fixture
        def broken(prompt):
            assert prompt(q="a") == "b"

        @pytest.fixture
        def breaks(prompt):
            yield
            assert prompt(q="a") == "b"

        def test_failed(prompt): assert prompt(q="a") == "b"
        def test_error(broken): pass
        def test_error_at_teardown(breaks, prompt): prompt(q="c")
        def test_skip(prompt): prompt(q="c") and pytest.skip("as said")
        def test_xfail(prompt): prompt(q="c") and pytest.xfail("as said")
        @pytest.mark.xfail(raises=AssertionError, strict=True)
        def test_xfailed(prompt): assert prompt(q="a") == "b"
        @pytest.mark.xfail(strict=True)
        def test_xpassed_strictly(prompt): assert prompt(q="a") == "a"
        @pytest.mark.xfail
        def test_xpassed(prompt): assert prompt(q="a") == "a"
        @pytest.mark.xfail(run=False)
        def test_not_run(prompt): note("never")
        @pytest.mark.skip
        def test_skipped(prompt): note("never")
        @pytest.mark.skipif("sys.platform", reason="always")
        def test_skipped_if(prompt): note("never")
        def test_fail(prompt): pytest.fail("said " + prompt(q="a"), pytrace=False)
        """,
}


#: What a shared fixture writes is written in a run that is dropped; it must be seen all the same, and once.
SHARED = """
import logging, sys, warnings

@pytest.fixture(scope="session")
def top():
    print("top out"); print("top err", file=sys.stderr)
    logging.warning("top log")
    warnings.warn("top warning")
    yield
    print("top down")

@pytest.fixture(scope="module")
def shared(top):
    print("shared out"); logging.warning("shared log"); warnings.warn("shared warning")
    yield
    print("shared down"); warnings.warn("shared down")

@pytest.fixture
def own(capsys):
    print("own out")

def test_one(prompt, own): assert prompt(q=prompt(q="a") + "!") == "b"
def test_two(prompt, shared, own): assert prompt(q=prompt(q="b") + "!") == "b"
def test_three(prompt, shared): assert prompt(q=prompt(q="c") + "!") == "b"
"""


@pytest.mark.parametrize(
    "options",
    [("-rA",), ("-s",), ("--capture=sys",), ("--capture=tee-sys",), ("-o", "log_cli=true"), ("-Werror",)],
)
def test_what_shared_fixtures_write_is_shown_once(example: Example, options: tuple[str, ...]) -> None:
    direct = options[0] in ("-s", "--capture=tee-sys")
    run = example.tests(SHARED).runs_as_without_plugin(*options, process=direct)
    assert run.asked or options == ("-Werror",)


@pytest.mark.parametrize("source", TRACES.values(), ids=TRACES)
def test_everything_is_shown_as_without_the_plugin(example: Example, source: str) -> None:
    run = example.tests(source).runs_as_without_plugin("-rA", "-vv", "--junit-xml=junit.xml")
    assert run.asked, "otherwise nothing was suspended"


#: What a session fixture keeps of the stream that it finds when it is set up.
KEEPS = {
    "a handler": (
        "handler = logging.StreamHandler(sys.stdout)",
        "logging.getLogger('app').addHandler(handler)",
    ),
    "its write": ("write = sys.stdout.write", "note_to(write)"),
    "itself": ("stream = sys.stdout", "note_to(lambda text: print(text, file=stream, end='', flush=True))"),
}


@pytest.mark.parametrize("option", ["-s", "--capture=tee-sys"])
@pytest.mark.parametrize("kept", KEEPS)
def test_a_stream_that_outlives_its_run_goes_on_to_show(example: Example, kept: str, option: str) -> None:
    """What it is given in a run that is dropped is not shown; everything else is, once."""
    example.tests(
        f"""
        import logging, sys
        LOG = logging.getLogger("app")
        LOG.setLevel("INFO")

        def note_to(write):
            handler = logging.Handler()
            handler.emit = lambda record: write(record.getMessage() + chr(10)) and None
            LOG.addHandler(handler)

        @pytest.fixture(scope="session", autouse=True)
        def logs():
            {KEEPS[kept][0]}
            {KEEPS[kept][1]}

        @pytest.mark.parametrize("word", "abc")
        def test_it(prompt, word):
            LOG.info("asks %s", word)
            assert prompt(q=prompt(q=word)) == word
            LOG.info("asked %s", word)
        """
    )
    example.files(
        {
            "test_plain.py": """
                import logging
                def test_plain():
                    logging.getLogger("app").info("ordinary")
                """
        }
    )
    # Loggers live as long as their process.
    run = example.runs_as_without_plugin(option, "-p", "no:logging", process=True)
    for said in ("asks a", "asked a", "asks b", "asks c", "asked c", "ordinary"):
        assert run.output.count(said) == 1, said


def test_bytes_are_shown_once_too(example: Example) -> None:
    example.tests(
        """
        import sys

        @pytest.mark.parametrize("word", "ab")
        def test_it(prompt, word):
            sys.stdout.buffer.write(b"binary\\n")
            sys.stdout.buffer.flush()
            print("text")
            assert prompt(q=word) == word
        """
    )
    run = example.runs_as_without_plugin("-s", process=True)
    assert (run.output.count("binary"), run.output.count("text")) == (2, 2)
