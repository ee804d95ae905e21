"""Prompt cases beside other code: mocks, frozen clocks, fake disks, async plugins, plugins that watch."""

from __future__ import annotations

import json
from textwrap import dedent

import pytest

from tests.acceptance.conftest import Example

#: As `house/echo`, but through a function that tests can exchange.
CLIENT = """
def say(word):
    return word
"""
MODEL = """
import asyncio, client
from pytest_promptopt.records import Answer

class Client:
    async def complete(self, request):
        note(f"asked {request.messages[-1].content}")
        await asyncio.sleep(0.01 if "first" in request.messages[-1].content else 0.2)
        said = client.say(request.messages[-1].content.rpartition(": ")[2])
        return Answer(said, request.model, "end_turn", None, None, 0.0)

    async def aclose(self): ...

from house import note

def pytest_promptopt_resolve_model(name):
    return Client() if name == "own/client" else None
"""


@pytest.fixture
def client(example: Example) -> Example:
    return example.files({"client.py": CLIENT, "conftest.py": MODEL}).model("own/client")


MOCKS = {
    "monkeypatch": "monkeypatch.setattr(client, 'say', lambda word: 'MOCKED')",
    "by path": "monkeypatch.setattr('client.say', lambda word: 'MOCKED')",
    "mock": "request.getfixturevalue('stack').enter_context(mock.patch('client.say', return_value='MOCKED'))",
    "by hand": "client.say, before = (lambda word: 'MOCKED'), client.say; request.addfinalizer("
    "lambda: setattr(client, 'say', before))",
}
ORDINARY = """
import contextlib, time
from unittest import mock
import client

pytestmark = []
case = pytest.mark.prompt("say.md")

@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack

@case
def test_first(prompt):
    assert prompt(q="first") == "first"

def test_ordinary(monkeypatch, request):
    {mock}
    time.sleep(0.4)
    assert client.say("x") == "MOCKED"

@case
@pytest.mark.parametrize("word", ["a", "b"])
def test_after(prompt, word):
    assert prompt(q=word) == word
"""


@pytest.mark.parametrize("way", MOCKS)
def test_no_call_is_under_way_while_a_test_runs_that_is_not_ours(client: Example, way: str) -> None:
    client.tests(ORDINARY.format(mock=MOCKS[way]))
    assert client.run().outcomes == {"passed": 4}
    again = client.run("-k", "not ordinary")
    assert again.outcomes["passed"] == 3, "nothing that a mock said is stored"
    assert again.notes == ()


@pytest.mark.parametrize("way", ["monkeypatch", "by path", "mock"])
def test_a_mock_of_a_case_covers_its_own_calls_and_nobody_elses(client: Example, way: str) -> None:
    client.tests(
        f"""
        import contextlib
        from unittest import mock
        import client

        @pytest.fixture
        def stack():
            with contextlib.ExitStack() as stack:
                yield stack

        @pytest.mark.parametrize("word", ["a", "b"])
        def test_before(prompt, word):
            assert prompt(q=word) == word

        @pytest.fixture
        def offline(monkeypatch, request):
            {MOCKS[way]}

        @pytest.mark.parametrize("word", ["a", "b", "c"])
        def test_mine(prompt, offline, word):
            assert prompt(q=word) == "MOCKED"

        @pytest.mark.parametrize("word", ["b", "c", "d"])
        def test_after(prompt, word):
            assert prompt(q=word) == word
        """
    )
    for _ in range(2):
        run = client.run()
        assert run.outcomes == {"passed": 8}
        assert (
            "3 cases put something else in the place of what their model's calls need (client.say"
            in run.output
        )


ASSIGNED = {
    "a function": ("client, 'say', lambda word: 'MOCKED'", "client.say"),
    "a method": ("client.Client, 'say', lambda self, word: 'MOCKED'", "client.Client().say"),
    "a static method": ("client.Client, 'plain', staticmethod(lambda word: 'MOCKED')", "client.Client.plain"),
    "a class": ("client, 'Client', Fake", "client.Client().say"),
    "a program": ("subprocess, 'run', lambda *args, **more: Fake()", "ask_program"),
    "an address": ("urllib.request, 'urlopen', lambda address: Fake()", "ask_address"),
}


@pytest.mark.parametrize("way", ASSIGNED)
@pytest.mark.parametrize("by", ["setattr", "monkeypatch.setattr"])
def test_a_mock_is_met_however_it_is_put_there(example: Example, way: str, by: str) -> None:
    """By assignment, as some libraries do it; in the standard library, where a model asks by it."""
    change, says = ASSIGNED[way]
    example.files(
        {
            "client.py": """
                import subprocess, sys, urllib.request
                from house import note
                def say(word):
                    note(f"really {word}")
                    return word
                class Client:
                    def say(self, word):
                        note(f"really {word}")
                        return word
                    @staticmethod
                    def plain(word):
                        note(f"really {word}")
                        return word
                def ask_program(word):
                    command = [sys.executable, "-c", f"print({word!r})"]
                    return subprocess.run(command, capture_output=True, text=True).stdout.strip()
                def ask_address(word):
                    return urllib.request.urlopen("data:," + word).read().decode()
                """,
            "conftest.py": MODEL.replace("client.say", says if "client" in says else f"client.{says}"),
        }
    ).model("own/client").tests(
        f"""
        import client, subprocess, urllib.request

        class Fake:
            stdout = "MOCKED"
            def say(self, word):
                return "MOCKED"
            def read(self):
                return b"MOCKED"

        @pytest.fixture
        def offline(monkeypatch):
            where, name, value = {change}
            before = vars(where)[name]
            {by}(where, name, value)
            yield
            setattr(where, name, before)

        @pytest.mark.parametrize("word", ["a", "b"])
        def test_mine(prompt, offline, word):
            assert prompt(q=word) == "MOCKED"

        @pytest.mark.parametrize("word", ["b", "c", "d"])
        def test_after(prompt, word):
            assert prompt(q=word) == word
        """
    )
    run = example.run()
    assert run.outcomes == {"passed": 5}
    assert "really a" not in run.notes, "a call of the first case, before anybody could know"
    assert example.run("-k", "after").notes == (), "the others are stored"
    assert "2 cases put something else in the place" in run.output


def test_what_a_program_exchanges_for_good_is_no_mock(example: Example) -> None:
    """A function that puts another in its place when it is first called: the answers are stored."""
    example.files(
        {
            "client.py": """
                def say(word):
                    global say
                    say = lambda word: word
                    return word
                """,
            "conftest.py": MODEL,
        }
    ).model("own/client").tests(
        """
        @pytest.mark.parametrize("word", "abcdef")
        def test_it(prompt, word):
            assert prompt(q=prompt(q=word)) == word
        """
    )
    assert example.run().outcomes == {"passed": 6}
    run = example.run()
    assert len(run.notes) <= 1, "what was asked before the plugin could know"


def test_what_no_call_needs_may_be_exchanged_at_no_cost(client: Example) -> None:
    client.files({"app.py": "LIMIT = 1\n"}).tests(
        """
        import app

        @pytest.mark.parametrize("word", "abcdefgh")
        def test_it(prompt, monkeypatch, word):
            monkeypatch.setattr(app, "LIMIT", 2)
            assert prompt(q=word) == word
        """
    )
    run = client.run("--durations=0")
    assert run.outcomes == {"passed": 8}
    assert "in the place" not in run.output
    assert client.run().notes == (), "the answers are stored"


def test_what_one_module_takes_away_is_there_for_a_model_of_the_session(example: Example) -> None:
    """It is made and connected once, with the first call that needs it, which may be that module's."""
    example.conftest(
        """
        import os
        from house import House
        os.environ["HOUSE_KEY"] = "real"

        class Careful(House):
            async def connect(self):
                self.key = os.environ["HOUSE_KEY"]

            async def complete(self, request):
                assert self.key == "real"
                return await super().complete(request)

        def pytest_promptopt_resolve_model(name):
            assert os.environ["HOUSE_KEY"] == "real"
            return Careful(name)
        """
    )
    example.tests(
        """
        import os

        @pytest.fixture(scope="module", autouse=True)
        def hermetic():
            before = dict(os.environ)
            os.environ.clear()
            yield
            os.environ.update(before)

        @pytest.mark.parametrize("word", "ab")
        def test_first(prompt, word):
            assert prompt(q=word) == word
            assert "HOUSE_KEY" not in os.environ
        """,
        name="test_a.py",
    )
    example.tests("def test_second(prompt): assert prompt(q='c') == 'c'", name="test_b.py")
    assert example.run().outcomes == {"passed": 3}


@pytest.mark.parametrize("changed", ["del os.environ['HOUSE_KEY']", "os.environ['HOUSE_KEY'] = 'fake'"])
@pytest.mark.parametrize("reads", ["connect", "complete"])
def test_a_model_lost_in_one_module_is_asked_again_in_the_next(
    example: Example, changed: str, reads: str
) -> None:
    example.conftest(
        f"""
        import os
        from house import House
        from pytest_promptopt.errors import ErrorKind, ModelError
        os.environ["HOUSE_KEY"] = "real"

        class Careful(House):
            async def connect(self):
                self.key = os.environ.get("HOUSE_KEY")

            async def complete(self, request):
                if "{reads}" == "complete":
                    self.key = os.environ.get("HOUSE_KEY")
                if self.key != "real":
                    note(f"refused {{request.messages[-1].content}}")
                    raise ModelError(ErrorKind.AUTHENTICATION, "a wrong key", model=request.model)
                return await super().complete(request)

        from house import note
        def pytest_promptopt_resolve_model(name):
            return Careful(name)
        """
    )
    example.tests(
        f"""
        import os

        @pytest.fixture(scope="module", autouse=True)
        def keyless():
            {changed}
            yield
            os.environ["HOUSE_KEY"] = "real"

        @pytest.mark.parametrize("word", "abc")
        def test_first(prompt, word):
            assert prompt(q=word) == word
        """,
        name="test_a.py",
    )
    example.tests(
        """
        @pytest.mark.parametrize("word", "abcd")
        def test_second(prompt, word):
            assert prompt(q=word) == word
        """,
        name="test_b.py",
    )
    lost = 0 if reads == "connect" and "del" in changed else 3
    run = example.run()
    assert run.outcomes == {"passed": 7 - lost} | ({"errors": lost} if lost else {})


@pytest.mark.parametrize("how", [(), ("--optimize-dry-run", "--promptopt-optimizer-model=demo")])
def test_a_model_is_made_once_whoever_needs_to_know_it(example: Example, how: tuple[str, ...]) -> None:
    """And closed: the search looks for keys, a mock is looked for in its modules, calls are made."""
    example.conftest(
        """
        from house import House, note

        class Own(House):
            async def aclose(self):
                note("closed")

        def pytest_promptopt_resolve_model(name):
            if name != "demo":
                note("made")
                return Own(name)
        """
    ).tests(
        """
        import json

        @pytest.mark.parametrize("word", "ab")
        def test_it(prompt, monkeypatch, word):
            monkeypatch.setattr(json, "nothing_of_it", 1, raising=False)
            class Thing: pass
            monkeypatch.setattr(Thing, "nothing_of_it", 1, raising=False)
            assert prompt(q=word) == word
        """
    )
    run = example.run(*how)
    assert (run.outcomes, run.notes) == ({"passed": 2}, ("made", "closed"))


def test_monkeypatch_takes_its_arguments_by_name_in_every_test(client: Example) -> None:
    """Of the cases, and of tests that are not ours."""
    client.tests(
        """
        import client

        MAPPING = {"key": 1, "other": 1}

        def exchange(monkeypatch):
            monkeypatch.setitem(dic=MAPPING, name="key", value=2)
            monkeypatch.setitem(MAPPING, name="key", value=3)
            monkeypatch.delitem(dic=MAPPING, name="other")
            monkeypatch.setattr(target="client.say", name=lambda text: "MOCKED")
            monkeypatch.delattr(target=client, name="__doc__")
            assert MAPPING == {"key": 3}

        @pytest.mark.parametrize("word", ["a", "b"])
        def test_it(prompt, monkeypatch, word):
            exchange(monkeypatch)
            assert prompt(q=word) == "MOCKED"

        def test_mistaken(prompt, monkeypatch):
            with pytest.raises(TypeError, match="missing 1 required positional argument: 'value'"):
                monkeypatch.setitem({}, name="key")
            assert prompt(q="c") == "c"
        """
    )
    client.files(
        {
            "test_ordinary.py": """
        import client
        from test_it import exchange

        def test_ordinary(monkeypatch):
            exchange(monkeypatch)
            assert client.say("x") == "MOCKED"
        """
        }
    )
    run = client.run()
    assert run.outcomes == {"passed": 4}
    assert "2 cases put something else in the place of what their model's calls need (client" in run.output


#: What a fixture of the cases changes, how it is put back, and how the model uses it.
OWN_STATE = {
    "environment": ("monkeypatch.delenv('HOUSE_KEY')", "pass", "os.environ['HOUSE_KEY']"),
    "by hand": ("del os.environ['HOUSE_KEY']", "os.environ['HOUSE_KEY'] = 'real'", "os.environ['HOUSE_KEY']"),
    "sockets": ("socket.socket = None", "socket.socket = SOCKET", "socket.socket().close()"),
    "standard library": ("monkeypatch.setattr('asyncio.sleep', None)", "pass", "await asyncio.sleep(0)"),
}


@pytest.mark.parametrize("way", OWN_STATE)
def test_calls_are_made_with_the_process_as_it_is_between_the_tests(example: Example, way: str) -> None:
    """Still all at once: the model answers when all four calls have met."""
    change, back, use = OWN_STATE[way]
    example.conftest(
        f"""
        import asyncio, os, socket
        from house import House
        os.environ["HOUSE_KEY"] = "real"

        class Careful(House):
            async def complete(self, request):
                {use}
                answer = await super().complete(request)
                {use}
                return answer

        def pytest_promptopt_resolve_model(name):
            return Careful(name)
        """
    ).model("house/together-4").tests(
        f"""
        import os, socket, time
        SOCKET = socket.socket

        @pytest.fixture(autouse=True)
        def hermetic(monkeypatch, request):
            {change}
            time.sleep(0.05)
            yield
            {back}

        @pytest.mark.parametrize("word", "abcd")
        def test_it(prompt, word):
            assert prompt(q=word) == word
        """
    )
    run = example.run(process=True)
    assert run.outcomes == {"passed": 4}
    assert (len(run.asked), run.peak) == (4, 4)


def test_calls_that_met_what_a_test_changed_by_hand_are_made_again(example: Example) -> None:
    """Nobody can know before; a defect of the model would not be asked again."""
    example.conftest(
        """
        import asyncio, os
        from house import House
        os.environ["HOUSE_KEY"] = "real"

        class Careful(House):
            async def complete(self, request):
                await asyncio.sleep(0.3)
                os.environ["HOUSE_KEY"]
                return await super().complete(request)

        def pytest_promptopt_resolve_model(name):
            return Careful(name)
        """
    ).tests(
        """
        import os

        @pytest.mark.parametrize("word", "abcd")
        def test_plain(prompt, word):
            assert prompt(q=word) == word

        @pytest.fixture
        def keyless():
            del os.environ["HOUSE_KEY"]
            yield
            os.environ["HOUSE_KEY"] = "real"

        def test_keyless(prompt, keyless):
            assert prompt(q="e") == "e"
        """
    )
    run = example.run(process=True)
    assert run.outcomes == {"passed": 5}
    assert sorted(run.asked) == list("abcde")


FROZEN = {
    "on the test": """
        @pytest.mark.parametrize("word", "abcdefgh")
        @freeze_time("2030-01-01")
        def test_it(prompt, word):
            assert prompt(q=word) == word
        """,
    "before the call": """
        @pytest.mark.parametrize("word", "abcdefgh")
        def test_it(prompt, word):
            with freeze_time("2030-01-01"):
                pass
            assert prompt(q=word) == word
        """,
    "where the case waits": """
        @pytest.mark.prompt("say.md", replay=False)
        @freeze_time("2030-01-01")
        def test_it(prompt):
            assert [prompt(q=word) for word in "abcdefgh"] == list("abcdefgh")
        """,
}


@pytest.mark.parametrize("where", FROZEN)
def test_a_frozen_clock_stops_no_call(example: Example, where: str) -> None:
    pytest.importorskip("freezegun")
    example.tests("from freezegun import freeze_time\n" + dedent(FROZEN[where]))
    run = example.run("-W", "ignore", process=True)
    assert set(run.outcomes) == {"passed"}
    assert len(run.asked) == 8


FAKE_DISK = """
import time

ordinary = pytest.mark.parametrize("n", range(3))

@pytest.mark.parametrize("word", "abc")
def test_first(prompt, word):
    assert prompt(q=word) == word

@ordinary
def test_with_fs(prompt, fs, n):
    fs.create_file("/data/x.txt", contents="1")
    assert prompt(q=n) == str(n)
"""


def test_a_fake_disk_swallows_no_answer(example: Example) -> None:
    pytest.importorskip("pyfakefs")
    example.tests(FAKE_DISK)
    first = example.run("-p", "pyfakefs.pytest_plugin", process=True)
    assert first.outcomes == {"passed": 6}
    assert len(first.asked) == 6
    again = example.run("-p", "pyfakefs.pytest_plugin", process=True)
    assert again.outcomes == {"passed": 6}
    assert again.asked == ()
    assert "promptopt: answers" not in first.output + again.output


TASK_GROUPS = """
import anyio

pytestmark = [pytest.mark.anyio, pytest.mark.prompt("say.md")]

@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"

@pytest.fixture(scope="module")
async def database(anyio_backend):
    yield "up"

async def both(prompt, number):
    answers = {}
    async def ask(word):
        answers[word] = await prompt.acall(q=f"{word}{number}")
    async with anyio.create_task_group() as group:
        group.start_soon(ask, "b")
        group.start_soon(ask, "c")
    return answers

@pytest.fixture
async def asked(prompt, database):
    return await both(prompt, "fixture")

@pytest.fixture
async def asked_for_a_while(prompt, database):
    yield await both(prompt, "while")

@pytest.mark.parametrize("number", [1, 2])
async def test_two_at_once(prompt, database, number):
    assert len(await both(prompt, number)) == 2

async def test_fixtures(asked, asked_for_a_while):
    assert len(asked) == len(asked_for_a_while) == 2
"""


@pytest.mark.parametrize("how", ["plain", "--optimize-dry-run"])
def test_a_task_group_ends_no_wider_fixture(example: Example, how: str) -> None:
    example.tests(TASK_GROUPS)
    run = example.run(
        "-p", "anyio", *(() if how == "plain" else (how, "--promptopt-optimizer-model=demo")), process=True
    )
    assert run.outcomes == {"passed": 3}
    assert "never retrieved" not in run.output


@pytest.mark.parametrize(
    "starts",
    [
        "asyncio.create_task(prompt.acall(q=q)), asyncio.create_task(prompt.acall(q=q + q))",
        "asyncio.create_task(inside(prompt, q)), asyncio.create_task(inside(prompt, q + q))",
    ],
)
def test_tasks_of_a_dropped_run_are_in_no_log(example: Example, starts: str) -> None:
    example.tests(
        f"""
        import asyncio, gc

        async def inside(prompt, q):
            return await asyncio.create_task(prompt.acall(q=q))

        @pytest.mark.parametrize("q", ["a", "b"])
        async def test_it(prompt, q):
            one, two = {starts}
            assert (await one, await two) == (q, q + q)

        def test_after():
            gc.collect()
        """
    )
    run = example.run("-p", "anyio", "-o", "anyio_mode=auto", "-o", "log_cli=true", process=True)
    assert run.outcomes == {"passed": 3}
    assert "never retrieved" not in run.output
    assert "Suspended" not in run.output


def test_a_test_need_be_no_plain_function(example: Example) -> None:
    run = example.tests(
        """
        import functools

        def check(word, prompt):
            assert prompt(q="a") == word

        test_partial = functools.partial(check, "b")
        """
    ).run()
    assert run.outcomes == {"failed": 1}
    assert "say.md: 0/1 cases pass" in run.output


def test_an_item_that_a_hook_adds_belongs_to_no_file(example: Example) -> None:
    example.files(
        {
            "added.py": """
            import pytest

            class Added(pytest.Item):
                fixturenames = ()
                def runtest(self): pass
                def reportinfo(self): return self.path, 0, self.name

            def pytest_collection_modifyitems(session, items):
                for name in ("one", "two"):
                    items.append(Added.from_parent(session, name=name))
                    items[-1].add_marker(pytest.mark.prompt("say.md"))
            """
        }
    )
    example.tests("def test_it(prompt): assert prompt(q='a') == 'a'")
    run = example.run("-p", "added", "-o", "promptopt_split=60/20/20")
    assert run.outcomes == {"passed": 3}


def test_a_rerun_asks_another_sample_and_is_no_further_case(example: Example) -> None:
    pytest.importorskip("pytest_rerunfailures")
    example.model("house/sampled").tests(
        """
        @pytest.mark.parametrize("last", [0, 1, 5])
        def test_it(prompt, last):
            assert prompt(q="x") == f"x{last}"
        """
    )
    for asked in (3, 0):  # the second time all are known, and everything ends as it did
        run = example.run("-p", "rerunfailures", "--reruns=2", "--promptopt-min-pass-rate=60%")
        assert "say.md: 2/3 cases pass (66.7%)" in run.output
        assert (run.ret, len(run.asked)) == (0, asked)


def test_a_rerun_of_a_case_without_an_answer_is_reported_once(example: Example) -> None:
    pytest.importorskip("pytest_rerunfailures")
    example.tests("def test_it(prompt): assert prompt(q='error')")
    run = example.run("-p", "rerunfailures", "--reruns=2", process=True)
    assert run.outcomes == {"errors": 1, "rerun": 2}


def test_repetitions_are_samples_of_one_case(example: Example) -> None:
    pytest.importorskip("pytest_repeat")
    example.model("house/sampled").tests(
        """
        def test_it(prompt):
            assert prompt(q="x") in ("x0", "x2")
        """
    )
    run = example.run("-p", "repeat", "--count=3", "--promptopt-min-pass-rate=60%")
    assert len(run.asked) == 3
    assert "cases: 1 train" in run.output
    assert "say.md: 0/1 cases pass" in run.output
    assert "66.7%" in run.output
    assert run.ret == 0


RESULTS = """
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    note(f"{report.when} {report.outcome}")
    return report

@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    note("call")
    return (yield)
"""
PASSES = ["setup passed", "call", "call passed", "teardown passed"]


def watched(example: Example, *words: str) -> None:
    example.conftest("import pytest\nfrom house import note\n" + RESULTS).tests(
        f"""
        @pytest.mark.parametrize("word", {words!r})
        def test_it(prompt, word):
            assert prompt(q=prompt(q=word)) == word
        """
    )


@pytest.mark.parametrize("how", [(), ("--optimize-dry-run", "--promptopt-optimizer-model=demo"), ("-x",)])
def test_hooks_of_a_conftest_see_each_test_once(example: Example, how: tuple[str, ...]) -> None:
    watched(example, "a", "b", "c")
    assert list(example.run(*how).notes) == PASSES * 3, "nothing known"
    assert list(example.run(*how).notes) == PASSES * 3, "all known"
    watched(example, "a", "new", "b", "newer", "c")
    run = example.run(*how)
    assert list(run.notes) == PASSES * 5, "some known"


#: How a conftest lets a test go on after a failed check, and fails it in the end.
SOFT = {
    "the report": """
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if call.when == "call" and item.soft:
                report.outcome, report.longrepr = "failed", f"soft: {item.soft}"
            return report
        """,
    "a function of its own": """
        def judged(report, soft):
            if report.when == "call" and soft:
                report.outcome, report.longrepr = "failed", f"soft: {soft}"
            return report

        class Soft:
            @pytest.hookimpl(hookwrapper=True)
            def pytest_runtest_makereport(self, item, call):
                outcome = yield
                self.judge(item, outcome)

            def judge(self, item, outcome):
                outcome.force_result(judged(outcome.get_result(), item.soft))

        def pytest_configure(config):
            config.pluginmanager.register(Soft())
        """,
    "what was raised": """
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            if call.when == "call" and item.soft and call.excinfo is None:
                try:
                    raise AssertionError(f"soft: {item.soft}")
                except AssertionError as error:
                    call.excinfo = pytest.ExceptionInfo.from_exception(error)
            return (yield)
        """,
    "the call": """
        def pytest_runtest_logreport(report):
            note(f"{report.when} {report.outcome}")

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(item):
            result = yield
            if item.soft:
                pytest.fail(f"soft: {item.soft}")
            return result
        """,
}


@pytest.mark.parametrize("way", SOFT)
def test_what_a_hook_makes_of_a_test_is_its_verdict_in_every_run(example: Example, way: str) -> None:
    example.conftest(
        "import pytest\nfrom house import note\n"
        + dedent(SOFT[way])
        + dedent(
            """
            @pytest.hookimpl(tryfirst=True)
            def pytest_runtest_setup(item):
                item.soft = []

            @pytest.fixture
            def soft(request):
                return lambda holds, why: holds or request.node.soft.append(why)
            """
        )
    ).tests(
        """
        @pytest.mark.parametrize("word", ["right", "wrong"])
        def test_it(prompt, soft, word):
            soft(prompt(q=word) == "right", "not right")
        """
    )
    run = example.run(
        "--optimize-dry-run", "--promptopt-optimizer-model=demo", "--promptopt-max-iterations=1"
    )
    assert "before: 50.0% of 2 training cases" in run.output
    assert run.outcomes == {"passed": 1, "failed": 1}
    run = example.run("--promptopt-samples=2")
    assert run.outcomes == {"passed": 1, "failed": 1}
    assert (
        "say.md: 1/2 cases pass"
        in example.run("--promptopt-samples=2", "--promptopt-min-pass-rate=90%").output
    )
    assert "soft: ['not right']" in run.output


def test_calls_of_watched_cases_overlap(example: Example) -> None:
    watched(example, *"abcdefgh")
    run = example.model("house/together-4").run()
    assert run.outcomes == {"passed": 8}
    assert run.peak >= 4


FIXTURE_RECIPE = """
import pytest
KEY = pytest.StashKey()

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    item.stash.setdefault(KEY, {})[report.when] = report
    return report

@pytest.fixture(autouse=True)
def look(request):
    yield
    assert request.node.stash[KEY]["call"]
"""


def test_fixtures_find_what_the_hooks_of_their_conftest_leave(example: Example) -> None:
    example.conftest(FIXTURE_RECIPE).tests(
        """
        @pytest.mark.parametrize("word", "ab")
        def test_it(prompt, word):
            assert prompt(q=word) == word
        """
    )
    assert example.run().outcomes == {"passed": 2}
    run = example.run("--optimize-dry-run", "--promptopt-optimizer-model=demo")
    assert "before: 100.0% of 2 training cases" in run.output


SUITE = """
@pytest.fixture(scope="module")
def shared():
    yield "shared"

@pytest.fixture
def own(shared):
    return shared

@pytest.mark.parametrize("word", ["a", "b", "c"])
def test_it(prompt, own, word, record_property):
    record_property("word", word)
    print("asked", word)
    assert prompt(q=word) == word.replace("b", "x")

@pytest.mark.skip(reason="not now")
def test_skipped(prompt):
    prompt(q="skipped")

@pytest.mark.xfail
def test_expected(prompt):
    assert prompt(q="y") == "n"

def test_ordinary():
    pass
"""


def allure_results(example: Example, *, plugin: bool, more: tuple[str, ...]) -> list[object]:
    folder = example.path / ("ours" if plugin else "plain")
    args = ("-p", "allure_pytest", f"--alluredir={folder}", "--clean-alluredir")
    example.run(*args, *(more if plugin else ()), process=True, plugin=plugin)
    found = []
    for path in folder.glob("*-result.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        containers = [json.loads(each.read_text()) for each in folder.glob("*-container.json")]
        around = sorted(
            (part, each["name"], each.get("status", ""))
            for container in containers
            if result["uuid"] in container.get("children", ())
            for part in ("befores", "afters")
            for each in container.get(part, [])
            if each["name"] not in ("prompt", "pytest_promptopt")
        )
        found.append((result["fullName"], str(result.get("parameters")), result["status"], around))
    return sorted(found, key=repr)


@pytest.mark.parametrize("more", [(), ("--optimize-dry-run", "--promptopt-optimizer-model=demo")])
def test_allure_sees_what_it_sees_of_plain_functions(example: Example, more: tuple[str, ...]) -> None:
    pytest.importorskip("allure_pytest")
    example.tests(SUITE)
    plain = allure_results(example, plugin=False, more=more)
    assert len(plain) == 6
    assert allure_results(example, plugin=True, more=more) == plain
    assert allure_results(example, plugin=True, more=more) == plain, "all answers known"


def test_so_does_junit(example: Example) -> None:
    example.tests(SUITE)
    example.runs_as_without_plugin("--junitxml=junit.xml")


@pytest.mark.parametrize("plugin", ["pytest_jsonreport", "pytest_cov"])
def test_so_do_others(example: Example, plugin: str) -> None:
    pytest.importorskip(plugin)
    args = {"pytest_jsonreport": ("--json-report",), "pytest_cov": ("--cov=.", "--cov-report=json")}[plugin]
    name = {"pytest_jsonreport": ".report.json", "pytest_cov": "coverage.json"}[plugin]
    example.tests(SUITE)
    seen = []
    for ours in (True, False):
        example.run("-p", plugin, *args, process=True, plugin=ours)
        report = json.loads((example.path / name).read_text(encoding="utf-8"))
        files = report.get("files", {}).get("test_it.py", {}).get("executed_lines")
        seen.append(
            (report.get("summary", files), [(t["nodeid"], t["outcome"]) for t in report.get("tests", ())])
        )
    assert seen[0] == seen[1]


def test_dependent_cases_are_part_of_a_search(example: Example) -> None:
    pytest.importorskip("pytest_dependency")
    example.tests(
        """
        @pytest.mark.dependency()
        def test_first(prompt):
            assert prompt(q="a") == "a"

        @pytest.mark.dependency(depends=["test_first"])
        @pytest.mark.parametrize("word", "bc")
        def test_second(prompt, word):
            assert prompt(q=word) == "z"
        """
    )
    more = ("--optimize-dry-run", "--promptopt-optimizer-model=demo", "--promptopt-max-iterations=1")
    run = example.run("-p", "pytest_dependency", *more)
    assert "before: 33.3% of 3 training cases" in run.output
    assert run.outcomes == {"passed": 1, "failed": 2}


@pytest.mark.parametrize("limit", ["-x", "--maxfail=2"])
def test_under_xdist_a_tolerated_failure_stops_nothing(example: Example, limit: str) -> None:
    pytest.importorskip("xdist")
    example.tests(
        """
        @pytest.mark.parametrize("number", range(20))
        def test_it(prompt, number):
            assert prompt(q=number) not in ("1", "2", "3")
        """
    )
    run = example.run("-p", "xdist", "-n2", limit, "--promptopt-min-pass-rate=80%", process=True)
    assert run.ret == 0
    assert run.outcomes["passed"] == 17


@pytest.mark.parametrize("option", ["--promptopt-runs", "--promptopt-restore=x", "--optimize-resume"])
def test_runs_of_another_user_are_one_sentence(
    example: Example, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    example.tests("def test_it(prompt): prompt(q=1)\n")
    monkeypatch.setattr("pytest_promptopt.runs.past.os.scandir", refuse)
    run = example.run("--promptopt-optimizer-model=demo", option)
    monkeypatch.undo()
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert "cannot be read: Permission denied" in run.output
    assert "Traceback" not in run.output
