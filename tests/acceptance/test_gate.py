"""The gate: a prompt must reach its pass rate; its single failing cases do not fail the build."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.projects import Project

OK, FAILED = pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED

#: Four of five cases pass: 80%.
FOUR_OF_FIVE = """
@pytest.mark.prompt("prompts/repeat.md"{mark})
@pytest.mark.parametrize("word", ["a", "b", "c", "d", "wrong"])
def test_word(prompt, word):
    assert len(prompt(word=word)) == 1
"""


@pytest.fixture(params=[0, 2], ids=["plain", "xdist"])
def workers(request: pytest.FixtureRequest) -> Any:
    return request.param


def gated(project: Project, *, mark: str = "", more: str = "") -> None:
    project.tests(FOUR_OF_FIVE.format(mark=mark) + more)


def counts(result: pytest.RunResult) -> dict[str, int]:
    """The numbers of pytest's last line."""
    words = result.outlines[-1].strip("= ").rpartition(" in ")[0].split(", ")
    return {name: int(number) for number, _, name in (word.partition(" ") for word in words)}


@pytest.mark.parametrize(("least", "verdict", "ret"), [("80%", "holds", OK), ("0.81", "FAILED", FAILED)])
def test_the_option(pytester: pytest.Pytester, workers: int, least: str, verdict: str, ret: int) -> None:
    project = Project(pytester)
    gated(project)
    result = project.run(f"--promptopt-min-pass-rate={least}", workers=workers)
    assert result.ret == ret
    assert counts(result) == {"gated failed": 1, "passed": 4}
    lines = [line for line in result.outlines if line.startswith("gate: ")]
    assert len(lines) == 1
    assert f"required: {verdict} (4 of 5 cases passed; --promptopt-min-pass-rate)" in lines[0]


def test_the_ini_value(pytester: pytest.Pytester) -> None:
    project = Project(pytester, "promptopt_min_pass_rate = 0.75")
    gated(project)
    result = project.run()
    assert result.ret == OK
    result.stdout.fnmatch_lines(["gate: prompts/repeat.md 80.0% >= 75.0% required: holds *"])


def test_the_mark_says_where_it_stands_and_beats_the_option(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    gated(project, mark=", min_pass_rate=0.9")
    result = project.run("--promptopt-min-pass-rate=0.1")
    assert result.ret == FAILED
    result.stdout.fnmatch_lines(
        ["gate: prompts/repeat.md 80.0% < 90.0% required: FAILED (4 of 5 cases passed; test_it.py:3)"]
    )


def test_without_a_threshold_every_failing_case_fails_the_build(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    gated(project)
    result = project.run()
    assert result.ret == FAILED
    assert counts(result) == {"failed": 1, "passed": 4}
    result.stdout.no_fnmatch_line("gate:*")


def test_a_mark_gates_its_prompt_only(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.write("prompts/other.md", "Other: {{ word }}")
    gated(
        project,
        mark=", min_pass_rate=0.8",
        more="""
@pytest.mark.prompt("prompts/other.md")
def test_other(prompt):
    assert prompt(word="a") == "b"
""",
    )
    result = project.run()
    assert result.ret == FAILED
    assert counts(result) == {"failed": 1, "passed": 4, "gated failed": 1}
    assert [line for line in result.outlines if line.startswith("gate: ")] == [
        "gate: prompts/repeat.md 80.0% >= 80.0% required: holds (4 of 5 cases passed; test_it.py:3)"
    ]


def test_a_mark_on_one_test_gates_all_cases_of_the_prompt(pytester: pytest.Pytester, workers: int) -> None:
    """The threshold is the prompt's, so a failing case of another test is gated as well."""
    project = Project(pytester)
    gated(
        project,
        mark=", min_pass_rate=0.6",
        more="""
@pytest.mark.prompt("prompts/repeat.md")
def test_other(prompt):
    assert prompt(word="a") == "b"
""",
    )
    result = project.run(workers=workers)
    assert counts(result) == {"gated failed": 2, "passed": 4}
    result.stdout.fnmatch_lines(["gate: prompts/repeat.md 66.7% >= 60.0% required: holds (4 of 6 cases *"])
    assert result.ret == OK


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ("\ndef test_plain():\n    assert 1 == 2\n", "failed"),
        (
            "\n@pytest.fixture\ndef broken():\n    raise OSError\n\ndef test_plain(broken):\n    pass\n",
            "errors",
        ),
    ],
)
def test_other_tests_fail_as_ever(pytester: pytest.Pytester, workers: int, more: str, name: str) -> None:
    project = Project(pytester)
    gated(project, more=more)
    result = project.run("--promptopt-min-pass-rate=0.5", workers=workers)
    assert result.ret == FAILED
    result.assert_outcomes(passed=4, **{name: 1})
    result.stdout.fnmatch_lines(["gate: prompts/repeat.md *required: holds *"])


def test_no_usable_answer_stays_an_error(pytester: pytest.Pytester, workers: int) -> None:
    """It is in no rate: 80% of those that were answered, and the build fails whatever the rate."""
    project = Project(pytester)
    gated(
        project,
        more="""
@pytest.mark.prompt("prompts/repeat.md")
def test_refused(prompt):
    prompt(word="boom")
""",
    )
    result = project.run("--promptopt-min-pass-rate=0.8", workers=workers)
    assert result.ret == FAILED
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(
        [
            "gate: prompts/repeat.md 80.0% >= 80.0% required: * (4 of 5 cases passed, 1 errored; *",
            "*errored: test_it.py::test_refused",
        ]
    )


def test_a_fixture_that_breaks_stays_an_error(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    gated(
        project,
        more="""
@pytest.fixture
def broken():
    yield
    raise OSError("teardown")

@pytest.mark.prompt("prompts/repeat.md")
def test_torn(prompt, broken):
    assert prompt(word="a") == "b"
""",
    )
    result = project.run("--promptopt-min-pass-rate=0.5")
    assert result.ret == FAILED
    result.assert_outcomes(passed=4, errors=1)


def test_skipped_and_expected_failures_are_no_cases(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    gated(
        project,
        more="""
@pytest.mark.prompt("prompts/repeat.md")
@pytest.mark.parametrize("word", [
    pytest.param("a", marks=pytest.mark.skip),
    pytest.param("b", marks=pytest.mark.xfail(strict=True)),
])
def test_more(prompt, word):
    assert prompt(word=word) == "x"
""",
    )
    result = project.run("--promptopt-min-pass-rate=0.8")
    assert result.ret == OK
    assert counts(result) == {"passed": 4, "skipped": 1, "xfailed": 1, "gated failed": 1}
    result.stdout.fnmatch_lines(["gate: prompts/repeat.md 80.0% >= *holds (4 of 5 cases passed; *"])


def test_a_prompt_without_a_single_answer_has_not_reached_its_rate(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md", min_pass_rate=0)
        def test_refused(prompt):
            prompt(word="boom")
        """
    )
    result = project.run()
    assert result.ret == FAILED
    result.stdout.fnmatch_lines(["gate: prompts/repeat.md has no pass rate, 0.0% required: FAILED *"])


def test_x_does_not_stop_at_a_failure_that_the_gate_decides_on(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize("word", ["wrong", "b", "c"])
        def test_word(prompt, word):
            assert len(prompt(word=word)) == 1
        """
    )
    assert project.run("-x").ret == FAILED
    result = project.run("-x", "--promptopt-min-pass-rate=0.5")
    assert result.ret == OK
    result.stdout.fnmatch_lines(["gate: prompts/repeat.md 66.7% >= 50.0% required: holds *"])


def test_subtests_give_a_case_its_share(pytester: pytest.Pytester, workers: int) -> None:
    project = Project(pytester)
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md")
        def test_parts(prompt, subtests):
            answer = prompt(word="abcd")
            for letter in "abcx":
                with subtests.test(letter=letter):
                    assert letter in answer
        """
    )
    low = project.run("--promptopt-min-pass-rate=0.75", workers=workers)
    low.stdout.fnmatch_lines(["gate: prompts/repeat.md 75.0% >= 75.0% required: holds *"])
    assert low.ret == OK
    high = project.run("--promptopt-min-pass-rate=0.8", workers=workers)
    high.stdout.fnmatch_lines(["gate: prompts/repeat.md 75.0% < 80.0% required: FAILED *"])
    assert high.ret == FAILED


def test_every_prompt_has_one_verdict(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    tests = ["pytestmark = []"]
    for name, word in (("one", "a"), ("two", "b"), ("three", "a")):
        project.write(f"prompts/{name}.md", f"{name}: {{{{ word }}}}")
        tests.append(
            f"@pytest.mark.prompt('prompts/{name}.md')\ndef test_{name}(prompt):\n"
            f"    assert prompt(word='a') == '{word}'\n"
        )
    project.tests("\n".join(tests))
    result = project.run("--promptopt-min-pass-rate=1")
    assert result.ret == FAILED
    verdicts = sorted(line.partition(" (")[0] for line in result.outlines if line.startswith("gate: "))
    assert verdicts == [
        "gate: prompts/one.md 100.0% >= 100.0% required: holds",
        "gate: prompts/three.md 100.0% >= 100.0% required: holds",
        "gate: prompts/two.md 0.0% < 100.0% required: FAILED",
    ]


def test_samples_count_by_their_share(pytester: pytest.Pytester) -> None:
    """Two of three samples pass: the case passes by its own rate, and counts 2/3 in the prompt's."""
    project = Project(pytester)
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md", samples=3, min_case_rate=0.6)
        def test_it(prompt):
            assert prompt(word="a") == "a"
        """
    )
    result = project.run("--promptopt-min-pass-rate=1")
    result.assert_outcomes(passed=1)
    assert len(project.asked()) == 3


def test_two_thresholds_under_xdist_are_a_usage_error_too(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md", min_pass_rate=0.5)
        def test_one(prompt):
            prompt(word="a")

        @pytest.mark.prompt("prompts/repeat.md", min_pass_rate=0.9)
        def test_two(prompt):
            prompt(word="a")
        """
    )
    result = project.run(workers=2)
    output = result.stdout.str() + result.stderr.str()
    assert "two different min_pass_rate" in output
    assert "test_it.py:3" in output
    assert "test_it.py:7" in output
    assert "INTERNALERROR" not in output
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_prompt_whose_cases_are_all_skipped_is_not_decided_on(
    pytester: pytest.Pytester, workers: int
) -> None:
    """As in the CI of a fork, which has no key."""
    project = Project(pytester)
    project.tests(
        """
        pytestmark = pytest.mark.skip

        @pytest.mark.prompt("prompts/repeat.md")
        @pytest.mark.parametrize("word", ["a", "b"])
        def test_word(prompt, word):
            assert prompt(word=word) == word
        """
    )
    result = project.run("--promptopt-min-pass-rate=90%", workers=workers)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["gate: prompts/repeat.md, 90.0% required: 2 cases skipped, *"])


def test_the_json_report_is_what_a_recount_finds(pytester: pytest.Pytester, workers: int) -> None:
    project = Project(pytester)
    gated(
        project,
        mark=", min_pass_rate=0.9",
        more="""
@pytest.mark.heldout
@pytest.mark.prompt("prompts/repeat.md")
def test_kept(prompt):
    assert prompt(word="a") == "b"

@pytest.mark.prompt("prompts/repeat.md")
def test_refused(prompt):
    prompt(word="boom")
""",
    )
    project.run("--promptopt-report=reports/out.json", workers=workers)
    report = json.loads((project.path / "reports" / "out.json").read_text(encoding="utf-8"))
    assert report["passed"] is False
    assert report["run"] is None
    (prompt,) = report["prompts"]
    results = {result["id"]: result for result in prompt["results"]}
    status = {name.partition("::")[2]: result["status"] for name, result in results.items()}
    assert status == {
        **{f"test_word[{word}]": "passed" for word in "abcd"},
        "test_word[wrong]": "failed",
        "test_kept": "failed",
        "test_refused": "errored",
    }
    assert (prompt["cases"], prompt["failing"], prompt["errored"]) == (7, 2, 1)
    assert prompt["rate"] == pytest.approx(4 / 6)
    assert (prompt["min_pass_rate"], prompt["held"], prompt["where"]) == (0.9, False, "test_it.py:3")
    kept = results["test_it.py::test_kept"]
    assert (kept["split"], kept["expected"], kept["actual"]) == ("heldout", "b", "a")
    assert results["test_it.py::test_refused"]["error"] == "the house model refuses boom"
    assert sum(category["count"] for category in prompt["categories"]) == 2


#: Of `cases` every tenth is wrong, and in `samples` of each nothing ever changes.
NINE_OF_TEN = """
@pytest.mark.prompt("prompts/repeat.md"{mark})
@pytest.mark.parametrize("number", range({cases}))
def test_word(prompt, number):
    assert prompt(word=str(number % 10)) != "0"
"""


def gate_of(result: pytest.RunResult) -> str:
    (line,) = [line for line in result.outlines if line.startswith("gate: ")]
    return line


class TestByInterval:
    """The rate of 90 % is measured; whether the true one reaches what is asked depends on how many cases."""

    @pytest.mark.parametrize(
        ("cases", "least", "said", "ret"),
        [
            (100, "80%", "90.0% (82.4% to 95.1%), 80.0% required: holds", OK),
            (
                20,
                "80%",
                "90.0% (68.3% to 98.8%), 80.0% required: UNDECIDED: about * more samples of *",
                FAILED,
            ),
            (100, "97%", "90.0% (82.4% to 95.1%), 97.0% required: FAILED", FAILED),
            (20, "90%", "UNDECIDED: the rate is too close to it for any number of samples", FAILED),
        ],
    )
    def test_three_verdicts(
        self, pytester: pytest.Pytester, workers: int, cases: int, least: str, said: str, ret: int
    ) -> None:
        project = Project(pytester)
        project.tests(NINE_OF_TEN.format(cases=cases, mark=""))
        result = project.run(
            "--promptopt-gate=interval", f"--promptopt-min-pass-rate={least}", workers=workers
        )
        assert result.ret == ret
        result.stdout.fnmatch_lines([f"gate: prompts/repeat.md *{said}*"])

    def test_an_undecided_gate_passes_where_the_team_says_so(self, pytester: pytest.Pytester) -> None:
        project = Project(pytester, "promptopt_gate = interval", "promptopt_undecided = pass")
        project.tests(NINE_OF_TEN.format(cases=20, mark=", min_pass_rate=0.8"))
        result = project.run()
        assert result.ret == OK
        assert "undecided, which passes: about " in gate_of(result)

    def test_a_rate_within_the_margin_holds(self, pytester: pytest.Pytester) -> None:
        project = Project(pytester, "promptopt_gate = interval", "promptopt_gate_margin = 10")
        project.tests(NINE_OF_TEN.format(cases=100, mark=", min_pass_rate=0.9"))
        result = project.run()
        assert result.ret == OK
        assert "90.0% (82.4% to 95.1%), 90.0% required: holds within the margin" in gate_of(result)

    def test_more_confidence_makes_it_undecided(self, pytester: pytest.Pytester) -> None:
        project = Project(pytester, "promptopt_gate = interval", "promptopt_gate_confidence = 99.9%")
        project.tests(NINE_OF_TEN.format(cases=100, mark=", min_pass_rate=0.8"))
        assert "UNDECIDED" in gate_of(project.run())

    def test_where_answers_do_not_vary_more_cases_can_decide(self, pytester: pytest.Pytester) -> None:
        project = Project(pytester, "promptopt_gate = interval")
        project.tests(NINE_OF_TEN.format(cases=20, mark=", min_pass_rate=0.8, samples=2"))
        assert "UNDECIDED: samples cannot decide it; about " in gate_of(project.run())

    def test_about_cases_not_seen_samples_add_nothing(self, pytester: pytest.Pytester) -> None:
        lines = []
        for population in ("answers", "cases"):
            project = Project(
                pytester, "promptopt_gate = interval", f"promptopt_gate_population = {population}"
            )
            project.tests(NINE_OF_TEN.format(cases=20, mark=", min_pass_rate=0.6, samples=5"))
            lines.append(gate_of(project.run()))
        assert "90.0% (82.4% to 95.1%), 60.0% required: holds" in lines[0]
        assert "90.0% (68.3% to 98.8%), 60.0% required: holds" in lines[1]

    def test_the_reports_say_it_too(self, pytester: pytest.Pytester) -> None:
        project = Project(pytester, "promptopt_gate = interval")
        project.tests(NINE_OF_TEN.format(cases=20, mark=", min_pass_rate=0.8"))
        project.run("--promptopt-report=r.json", "--junitxml=junit.xml")
        (prompt,) = json.loads((project.path / "r.json").read_bytes())["prompts"]
        (gate,) = prompt["gates"]
        assert (gate["model"], gate["verdict"], prompt["held"]) == (None, "undecided", False)
        assert gate["interval"] == pytest.approx([0.683, 0.988], abs=1e-3)
        assert gate["samples"] >= 1
        junit = (project.path / "junit.xml").read_text(encoding="utf-8")
        assert 'failures="1"' in junit
        assert junit.count("<failure") == 1


def test_held_out_cases_alone_can_decide(pytester: pytest.Pytester, workers: int) -> None:
    project = Project(pytester, "promptopt_gate_split = heldout")
    project.tests(
        """
        HELDOUT = [pytest.param(word, marks=pytest.mark.heldout) for word in "bc"]

        @pytest.mark.prompt("prompts/repeat.md", min_pass_rate=0.9)
        @pytest.mark.parametrize("word", ["a", "wrong", *HELDOUT])
        def test_word(prompt, word):
            assert len(prompt(word=word)) == 1
        """
    )
    result = project.run(workers=workers)
    assert result.ret == OK
    assert "100.0% >= 90.0% required: holds (2 of 2 held-out cases passed" in gate_of(result)


def test_without_a_held_out_case_such_a_gate_has_nothing_to_decide_on(pytester: pytest.Pytester) -> None:
    project = Project(pytester, "promptopt_gate_split = heldout")
    gated(project, mark=", min_pass_rate=0.9")
    result = project.run()
    assert "no held-out case ran, so there is nothing to decide on" in gate_of(result)
    assert result.ret == FAILED, "nobody else decides about the case that failed"


class TestPartOfTheCases:
    """What the command line leaves out may be what passes, or what fails: no gate is decided without it."""

    @pytest.mark.parametrize(
        ("args", "run"),
        [
            (["-k", "wrong or b"], "2 of its 5 cases were run"),
            (["test_it.py::test_word[wrong]"], "only tests that the command line names were run"),
            (["--lf"], "only what failed last was run"),
        ],
    )
    def test_it_is_said_and_each_failure_counts(
        self, pytester: pytest.Pytester, workers: int, args: list[str], run: str
    ) -> None:
        project = Project(pytester)
        gated(project, mark=", min_pass_rate=0.5")
        if args == ["--lf"]:
            assert project.run().ret == OK
        result = project.run(*args, workers=workers)
        assert result.ret == FAILED
        assert "failed" in counts(result)
        assert not any(line.startswith("gate: ") for line in result.outlines)
        said = f"promptopt: gate of prompts/repeat.md not decided: {run}; --promptopt-gate-partial=on *"
        result.stdout.fnmatch_lines([said])

    def test_the_team_can_have_it_decided(self, pytester: pytest.Pytester, workers: int) -> None:
        project = Project(pytester)
        gated(project, mark=", min_pass_rate=0.5")
        result = project.run("-k", "wrong or b", "--promptopt-gate-partial=on", workers=workers)
        assert result.ret == OK
        assert "50.0% >= 50.0% required: holds" in gate_of(result)

    def test_a_prompt_all_of_whose_cases_are_run_has_its_gate(self, pytester: pytest.Pytester) -> None:
        project = Project(pytester)
        project.write("prompts/other.md", "Repeat: {{ word }}\n")
        other = FOUR_OF_FIVE.replace("repeat.md", "other.md").replace("test_word", "test_other")
        gated(project, mark=", min_pass_rate=0.5", more=other.format(mark=", min_pass_rate=0.5"))
        result = project.run("-k", "test_word or (test_other and wrong)")
        assert gate_of(result).startswith("gate: prompts/repeat.md 80.0% >= 50.0% required: holds")
        assert result.ret == FAILED


class TestLimits:
    """What answers cost and how long they take may be gates, too. The house model takes $0.001 a call."""

    ALL_PASS = """
    @pytest.mark.prompt("prompts/repeat.md"{mark})
    @pytest.mark.parametrize("word", ["a", "b", "c"])
    def test_word(prompt, word):
        assert prompt(word=word) == word
    """

    @pytest.mark.parametrize(
        ("most", "said", "ret"),
        [("0.001", "holds (3 runs of its cases", OK), ("0.0009", "FAILED (3 runs of its cases", FAILED)],
    )
    def test_the_cost_of_a_case(
        self, pytester: pytest.Pytester, workers: int, most: str, said: str, ret: int
    ) -> None:
        project = Project(pytester)
        project.tests(self.ALL_PASS.format(mark=""))
        args = (f"--promptopt-max-cost-per-case={most}", "--junitxml=junit.xml", "--promptopt-report=r.json")
        result = project.run(*args, workers=workers)
        assert result.ret == ret
        assert "gate: prompts/repeat.md has $0.00100 a case, at most $" in gate_of(result)
        assert f"{said}; --promptopt-max-cost-per-case)" in gate_of(result)
        again = project.run(*args, workers=workers)
        assert (again.ret, gate_of(again)) == (ret, gate_of(result)), "an answer from the cache cost as much"
        junit = (project.path / "junit.xml").read_text(encoding="utf-8")
        assert junit.count('name="max_cost_per_case"') == 1
        assert f'failures="{int(ret == FAILED)}"' in junit
        report = json.loads((project.path / "r.json").read_bytes())
        (limit,) = report["prompts"][0]["limits"]
        assert (report["passed"], limit["held"]) == (ret == OK, ret == OK)

    def test_the_mark_says_how_long_answers_may_take(self, pytester: pytest.Pytester) -> None:
        project = Project(pytester)
        project.tests(self.ALL_PASS.format(mark=', model="house/slow", p95_latency=0.01'))
        result = project.run("--promptopt-p95-latency=1h")
        assert result.ret == FAILED
        assert "at most 0.01s for 95% of its answers: FAILED (3 answers; test_it.py:" in gate_of(result)

    def test_two_marks_that_differ_are_refused(self, pytester: pytest.Pytester) -> None:
        project = Project(pytester)
        more = self.ALL_PASS.replace("test_word", "test_more").format(mark=", p95_latency=2")
        project.tests(self.ALL_PASS.format(mark=", p95_latency=1") + more)
        result = project.run()
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert "prompts/repeat.md: two different p95_latency: 1 at test_it.py:" in result.stderr.str()

    def test_a_wrong_value_is_named(self, pytester: pytest.Pytester) -> None:
        project = Project(pytester)
        project.tests(self.ALL_PASS.format(mark=", max_cost_per_case=0"))
        assert "max_cost_per_case must be a number of US dollars above 0" in project.run().stdout.str()

    def test_a_failing_case_still_fails_the_session(self, pytester: pytest.Pytester) -> None:
        project = Project(pytester)
        gated(project, mark=", max_cost_per_case=1")
        result = project.run()
        assert counts(result) == {"failed": 1, "passed": 4}
        assert result.ret == FAILED

    def test_a_part_of_the_cases_decides_none(self, pytester: pytest.Pytester, workers: int) -> None:
        project = Project(pytester)
        project.tests(self.ALL_PASS.format(mark=""))
        result = project.run("--promptopt-max-cost-per-case=0.0001", "-k", "[c]", workers=workers)
        assert result.ret == OK
        assert "gate of prompts/repeat.md not decided: 1 of its 3 cases were run" in result.stdout.str()

    def test_a_case_file_has_them_too(self, pytester: pytest.Pytester) -> None:
        project = Project(pytester)
        project.write(
            "evals/words.promptopt.yaml",
            "prompt: prompts/repeat.md\nmax_cost_per_case: 0.0005\np95_latency: 10\ncases:\n"
            "  - {word: a, expected: a}\n",
        )
        result = project.run()
        assert result.ret == FAILED
        found = [line for line in result.outlines if line.startswith("gate: ")]
        assert [line.partition(" (")[0].rpartition(": ")[2] for line in found] == ["FAILED", "holds"]
