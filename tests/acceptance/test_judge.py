"""Answers without one right value: a judge grades them, and must pass a test of its own before it decides."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.acceptance.projects import Project

#: The house judges too: an answer has one issue for each word beyond three; "boom" leaves it speechless.
#: Of two answers it likes the one that comes first.
JUDGE = """
import re

def said(request):
    text = request.messages[-1].content
    if "<criterion>" not in text:
        return text.rpartition(": ")[2].strip()
    if "<first_answer>" in text:
        return "BETTER: first"
    answer = re.search(r"<answer>\\n(.*)\\n</answer>", text, re.DOTALL)[1]
    if "boom" in answer:
        return "I would rather not say."
    extra = answer.split()[3:]
    lines = [f"REASONS: it has {len(answer.split())} words"]
    lines += [f"ISSUE: the word {word!r} is too much" for word in extra]
    lines += ["SUGGESTION (high, length): use three words at most"] * bool(extra)
    return "\\n".join([*lines, f"SCORE: {max(0.0, 1 - len(extra) / 4)}"])
"""

GRADED = """
@pytest.mark.prompt("prompts/repeat.md")
@pytest.mark.parametrize("word", ["one", "one two three", "one two three four five six"])
def test_it(prompt, judge, word):
    assert judge(prompt(word=word), "has three words at most").score >= 0.7
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    project = Project(pytester, "promptopt_judge_model = house/judge")
    project.append("conftest.py", JUDGE)
    return project


def calls(project: Project) -> list[str]:
    log = project.path / "calls.log"
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def labels(
    project: Project, count: int = 60, *, wrong: int = 0, criterion: str = "has three words at most"
) -> Path:
    """Answers of one to six words; the judge passes up to four words, people up to three, but for `wrong`."""
    rows = []
    for number in range(count):
        words = number % 2 * 4 + 1 + number // 2 % 2
        good = (words <= 3) is (number >= wrong)
        rows.append({"answer": " ".join([f"w{number}"] * words), "good": good, "criterion": criterion})
    path = project.path / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


GATE = "--promptopt-min-pass-rate=0.5"
LABELS = ("-o", "promptopt_judge_labels=labels.jsonl")


def calibrate(project: Project, *options: str) -> pytest.RunResult:
    """Test the judge on ``labels.jsonl``."""
    return project.run("--promptopt-calibrate", *LABELS, *options)


class TestGrading:
    def test_a_score_decides_and_the_verdict_stands_under_a_failing_test(self, project: Project) -> None:
        project.tests(GRADED)
        result = project.run()
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.fnmatch_lines(
            [
                "*assert 0.25 >= 0.7*",
                "*- verdicts of the judge -*",
                "judged 0.25 (1 is best) for *has three words at most*",
                "issue: the word 'four' is too much",
                "suggestion (high, length): use three words at most",
                "*criterion not met: 1 case*",
                "*suggested fix: use three words at most*",
            ]
        )

    def test_its_calls_are_cached_counted_and_no_answer_under_test(self, project: Project) -> None:
        project.tests(GRADED)
        result = project.run("--promptopt-report=report.json")
        result.stdout.fnmatch_lines(["6 model calls, 0 of them from the cache; *"])
        assert len(calls(project)) == 6
        assert result.stdout.str().count("- answer of prompts/repeat.md -") == 1
        project.run().stdout.fnmatch_lines(["6 model calls, 6 of them from the cache: nothing was paid"])
        assert len(calls(project)) == 6

    def test_a_score_below_the_bar_is_partial_credit(self, project: Project) -> None:
        project.tests(GRADED)
        project.run().stdout.fnmatch_lines(["*2/3 cases pass (pass rate with partial credit: 75.0%)"])

    def test_a_check_that_is_not_the_judges_earns_nothing_by_it(self, project: Project) -> None:
        project.tests(
            """
            @pytest.mark.prompt("prompts/repeat.md")
            def test_it(prompt, judge):
                answer = prompt(word="one")
                assert judge(answer, "has three words at most").score >= 0.7
                assert answer == "two"
            """
        )
        project.run().stdout.fnmatch_lines(["prompts/repeat.md: 0/1 cases pass (0.0%)"])

    def test_a_verdict_is_true_from_the_threshold_of_the_project_on(self, project: Project) -> None:
        project.ini("promptopt_judge_model = house/judge", "promptopt_model = house/repeat")
        project.tests(GRADED.replace(".score >= 0.7", ""))
        project.run().assert_outcomes(passed=2, failed=1)
        project.ini(
            "promptopt_judge_model = house/judge",
            "promptopt_model = house/repeat",
            "promptopt_judge_threshold = 0.2",
        )
        project.run().assert_outcomes(passed=3)

    @pytest.mark.parametrize(("given", "answer"), [("prompt, ", "prompt(word=word)"), ("", "word")])
    def test_many_are_asked_at_once(self, project: Project, given: str, answer: str) -> None:
        conftest = (project.path / "conftest.py").read_text(encoding="utf-8")
        project.write(
            "conftest.py",
            conftest
            + """
model = FakeModel(lambda request: said(request), seconds=0.5)

def pytest_promptopt_resolve_model(name):
    return model

def pytest_unconfigure():
    Path(__file__).with_name("most").write_text(str(model.most))
""",
        )
        project.tests(
            f"""
            @pytest.mark.prompt("prompts/repeat.md")
            @pytest.mark.parametrize("word", [f"w{{n}}" for n in range(40)])
            def test_it({given}judge, word):
                assert judge({answer}, "has three words at most")
            """
        )
        project.run("--promptopt-concurrency=20").assert_outcomes(passed=40)
        assert 10 < int((project.path / "most").read_text()) <= 20

    def test_async_tests_pairs_and_panels(self, project: Project) -> None:
        project.ini(
            "promptopt_judge_model = house/judge", "promptopt_model = house/repeat", "asyncio_mode = auto"
        )
        project.tests(
            """
            import asyncio

            @pytest.mark.prompt("prompts/repeat.md")
            def test_async(prompt, judge):
                async def both():
                    answers = await asyncio.gather(prompt.acall(word="a"), prompt.acall(word="b c d e"))
                    pair = judge.acompare(*answers, "is short")
                    return await asyncio.gather(*(judge.acall(each, "is short") for each in answers), pair)
                one, two, pair = asyncio.run(both())
                assert (one.score, two.score) == (1.0, 0.75)
                assert (pair.better, pair.position_bias) == ("tie", "first")

            @pytest.mark.prompt("prompts/repeat.md")
            def test_panel(prompt, judge):
                models = ["house/one", "house/two"]
                panel = judge.panel(prompt(word="a"), "is short", models=models, samples=2)
                assert len(panel.verdicts) == 4 and panel.majority and panel.disagreement == 0
            """
        )
        project.run().assert_outcomes(passed=2)
        asked = [json.loads(line)["model"] for line in calls(project)]
        assert sorted(model for model in asked if model in ("house/one", "house/two")) == [
            "house/one", "house/one", "house/two", "house/two",
        ]  # fmt: skip


class TestArguments:
    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            (
                "judge(answer, ['is short'])",
                "*the criterion must be a sentence or the path*, got ['is short']*",
            ),
            ("judge({'a': 1}, 'is short')", "*the answer must be a text, got dict*"),
            ("judge.decide('a label')", "*judge.decide(...): it takes a label, got 'a label'*"),
            ("judge.panel(answer, 'is short', models=5)", "*models= must be a list of names, got 5*"),
        ],
    )
    def test_a_mistake_of_the_test_makes_its_case_an_error(
        self, project: Project, asked: str, said: str
    ) -> None:
        project.tests(
            f"""
            @pytest.mark.prompt("prompts/repeat.md")
            def test_it(prompt, judge):
                answer = prompt(word="a")
                assert {asked}
            """
        )
        result = project.run()
        result.assert_outcomes(errors=1)
        assert any(fnmatchcase(line, said.replace("[", "[[]")) for line in result.outlines)


class TestPairs:
    def test_what_was_said_of_two_answers_stands_under_a_failing_test(self, project: Project) -> None:
        compared = """
def said(request, grade=said):
    text = request.messages[-1].content
    if "<first_answer>" not in text:
        return grade(request)
    return "REASONS: the longer one\\nBETTER: " + _better(text)

def _better(text):
    one, two = (re.search(f"<{name}_answer>\\n(.*)\\n<", text)[1] for name in ("first", "second"))
    return "first" if len(one) > len(two) else "second"
"""
        project.append("conftest.py", compared)
        project.tests(
            """
            @pytest.mark.prompt("prompts/repeat.md")
            def test_it(prompt, judge):
                found = judge.compare(prompt(word="short"), "a longer answer", "says more")
                assert found.better == "a"
            """
        )
        result = project.run()
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            [
                "*- verdicts of the judge -*",
                'two answers compared for "says more": b is better',
                "reasons: the longer one*",
                "prompts/repeat.md: 0/1 cases pass (0.0%)",
                "*criterion not met: 1 case*",
            ]
        )


class TestNoVerdict:
    def test_is_an_error_of_the_case_and_never_a_score(self, project: Project) -> None:
        project.tests(GRADED.replace('"one", ', '"boom", '))
        result = project.run()
        result.assert_outcomes(passed=1, failed=1, errors=1)
        result.stdout.fnmatch_lines(
            ["*UnusableVerdict: house/judge was asked twice: the judge's reply is no verdict*"]
        )
        result.stdout.fnmatch_lines(["*1 case errored: no usable answer, so in no pass rate*"])

    def test_also_where_the_test_takes_no_notice(self, project: Project) -> None:
        project.tests(
            """
            @pytest.mark.prompt("prompts/repeat.md")
            def test_it(prompt, judge):
                try:
                    judge(prompt(word="boom"), "is short")
                except Exception:
                    pass
            """
        )
        project.run().assert_outcomes(errors=1)

    def test_without_a_model_it_says_how_to_name_one(self, project: Project) -> None:
        project.ini("promptopt_model = house/repeat")
        project.tests(GRADED)
        result = project.run()
        result.assert_outcomes(errors=3)
        result.stdout.fnmatch_lines(["*the judge has no model; set --promptopt-judge-model=PROVIDER/MODEL*"])
        assert calls(project) == []

    def test_a_test_without_a_prompt_has_no_judge(self, project: Project) -> None:
        project.tests("def test_it(judge):\n    assert judge('a', 'is short')\n")
        result = project.run()
        result.stdout.fnmatch_lines(["*uses the fixture 'judge' but has no @pytest.mark.prompt*"])


class TestCalibration:
    def test_a_good_judge_is_certified_and_the_file_stays_the_same(self, project: Project) -> None:
        project.tests(GRADED)
        path = labels(project)
        result = calibrate(project)
        assert result.ret == 0
        result.stdout.fnmatch_lines(
            [
                "*test of the judge*",
                '"has three words at most": 60 labels of labels.jsonl',
                "*labelled good * 30 * 0*",
                "*labelled bad * 0 * 30*",
                "*precision 1.00 [[]0.88, 1.00]   recall 1.00 [[]0.88, 1.00]*",
                "*certified: it may decide*",
                "*stored in labels.certificate.json*",
            ]
        )
        certificate = path.with_name("labels.certificate.json")
        before, asked = certificate.read_bytes(), len(calls(project))
        assert calibrate(project).ret == 0
        assert (certificate.read_bytes(), len(calls(project))) == (before, asked)

    def test_a_poor_judge_is_not_and_its_disagreements_are_shown(self, project: Project) -> None:
        project.tests('@pytest.mark.judge_labels("labels.jsonl")\n' + GRADED.lstrip())
        labels(project, wrong=20)
        result = project.run("--promptopt-calibrate")
        assert result.ret == 1
        result.stdout.fnmatch_lines(
            [
                "*not certified: *",
                "*20 disagreements, the farthest off first:*",
                "*labels.jsonl:1: labelled bad*",
            ]
        )

    def test_too_few_labels_are_named_with_the_number_that_would_do(self, project: Project) -> None:
        project.tests('@pytest.mark.judge_labels("labels.jsonl")\n' + GRADED.lstrip())
        labels(project, 20)
        result = project.run("--promptopt-calibrate")
        assert result.ret == 1
        result.stdout.fnmatch_lines(["*not certified: 20 labels, at least 50 are needed: 30 more would do*"])

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ('{"answer": "a", "criterion": "c"}', "*labels.jsonl:1: `good` is missing*"),
            ('{"answer": "a", "good": 1, "criterion": "c"}', "*labels.jsonl:1: `good` is 1*"),
            (
                '{"answer": "a", "good": true, "criterion": "no.md"}',
                "*labels.jsonl:1: there is no rubric file 'no.md'; looked for *",
            ),
            ("nothing", "*labels.jsonl:1: it is not JSON*"),
        ],
    )
    def test_a_mistake_in_the_labels_is_told_at_its_line_before_any_call(
        self, project: Project, line: str, said: str
    ) -> None:
        project.tests(GRADED)
        project.write("labels.jsonl", line + "\n")
        result = calibrate(project)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([said])
        assert calls(project) == []

    def test_without_labels_it_says_where_to_name_them(self, project: Project) -> None:
        project.tests(GRADED)
        result = project.run("--promptopt-calibrate")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["*--promptopt-calibrate: there are no labels: *judge_labels*"])

    def test_labels_without_a_verdict_are_told_and_in_no_figure(self, project: Project) -> None:
        project.tests(GRADED)
        path = labels(project)
        with path.open("a", encoding="utf-8") as file:
            file.write('{"answer": "boom", "good": true, "criterion": "has three words at most"}\n')
        result = calibrate(project)
        result.stdout.fnmatch_lines(
            [
                "*60 labels of labels.jsonl*",
                "1 label without a usable verdict, in no figure (--promptopt-cache=refresh asks again):",
                "*labels.jsonl:61:*",
            ]
        )

    def test_pairs_are_asked_in_both_orders_and_a_disagreement_shows_both_answers(
        self, project: Project
    ) -> None:
        compared = """
def said(request, grade=said):
    text = request.messages[-1].content
    if "<first_answer>" not in text:
        return grade(request)
    one, two = (re.search(f"<{name}_answer>\\n(.*)\\n<", text)[1] for name in ("first", "second"))
    return f"REASONS: by length\\nBETTER: {'first' if len(one) > len(two) else 'second'}"
"""
        project.append("conftest.py", compared)
        project.tests(GRADED)
        pair = {"a": "a short one", "b": "a much longer one", "better": "a", "criterion": "is short"}
        project.write("labels.jsonl", json.dumps(pair) + "\n")
        result = calibrate(project)
        assert result.ret == 1
        result.stdout.fnmatch_lines(
            [
                "*pairs, asked in both orders*",
                "*1 disagreement, the farthest off first:*",
                '*labels.jsonl:1: a is better, judged b and b: a "a short one", b "a much longer one"*',
            ]
        )

    def test_without_any_verdict_nothing_is_stored(self, project: Project) -> None:
        project.tests(GRADED)
        project.write("labels.jsonl", '{"answer": "boom", "good": true, "criterion": "is short"}\n')
        result = calibrate(project)
        assert result.ret == 1
        result.stdout.fnmatch_lines(
            ["*labels.certificate.json was not written: no label has a usable verdict"]
        )
        assert not (project.path / "labels.certificate.json").exists()

    def test_labels_may_lie_outside_of_the_project(self, project: Project, tmp_path: Path) -> None:
        project.tests(GRADED)
        outside = tmp_path / "labels.jsonl"
        labels(project).rename(outside)
        result = project.run("--promptopt-calibrate", "-o", f"promptopt_judge_labels={outside}")
        assert result.ret == 0
        result.stdout.fnmatch_lines([f"*stored in {tmp_path}/labels.certificate.json: keep it *"])

    def test_a_file_that_is_named_twice_is_one(self, project: Project) -> None:
        project.tests('@pytest.mark.judge_labels("prompts/../labels.jsonl")\n' + GRADED.lstrip())
        labels(project)
        result = calibrate(project)
        assert result.stdout.str().count("60 labels of labels.jsonl") == 1

    def test_labels_that_its_prompt_cannot_show_are_told(self, project: Project) -> None:
        project.tests(GRADED)
        project.write("judge.md", "Grade {{ answer }} by {{ criterion }}.\n")
        label = {"answer": "a", "good": True, "criterion": "is short", "context": "b"}
        project.write("labels.jsonl", json.dumps(label) + "\n")
        own = ("-o", "promptopt_judge_prompt=judge.md", "-o", "promptopt_judge_labels=labels.jsonl")
        result = project.run("--promptopt-calibrate", *own)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(["*could not be tested: *judge.md does not use `context`"])
        assert calls(project) == []

    def test_it_is_not_spread_over_workers(self, project: Project) -> None:
        project.tests(GRADED)
        result = project.run("--promptopt-calibrate", workers=2)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["*--promptopt-calibrate asks everything in one process*"])

    @pytest.mark.parametrize(
        "option", ["--collect-only", "--setup-plan", "--setup-only", "--promptopt-report=report.json"]
    )
    def test_what_it_cannot_do_as_well_is_refused_before_any_call(
        self, project: Project, option: str
    ) -> None:
        project.tests(GRADED)
        labels(project)
        result = calibrate(project, option)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"*--promptopt-calibrate*{option.partition('=')[0]}*leave it out*"])
        assert calls(project) == []

    @pytest.mark.parametrize("content", ["{", None])
    def test_where_none_can_be_stored_nothing_is_paid(self, project: Project, content: str | None) -> None:
        project.tests(GRADED)
        certificate = labels(project).with_name("labels.certificate.json")
        if content is None:
            certificate.mkdir()
        else:
            certificate.write_text(content, encoding="utf-8")
        result = calibrate(project)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["*labels.certificate.json: *"])
        assert calls(project) == []


class TestSettings:
    @pytest.mark.parametrize(
        ("ini", "said"),
        [
            ("promptopt_judge_prompt=none.md", "*the judge's prompt cannot be used: none.md: *not exist*"),
            ("promptopt_judge_prompt=prompts/repeat.md", "*the judge's prompt does not use `answer`*"),
            ("promptopt_judge_labels=none.jsonl", "*none.jsonl: the labels cannot be read: *"),
            ("promptopt_judge_labels=broken.jsonl", "*broken.jsonl:1: `good` is missing*"),
            ("promptopt_judge_labels=torn.jsonl", "*torn.certificate.json: it is not a certificate*"),
        ],
    )
    def test_what_cannot_be_used_ends_a_plain_check_before_any_call(
        self, project: Project, ini: str, said: str
    ) -> None:
        project.tests(GRADED)
        project.write("broken.jsonl", '{"answer": "a", "criterion": "c"}')
        project.write("torn.jsonl", '{"answer": "a", "good": true, "criterion": "c"}')
        project.write("torn.certificate.json", '{"version": 1, "cert')
        result = project.run("-o", ini)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([said])
        assert calls(project) == []


class TestRubrics:
    @pytest.mark.parametrize(
        ("in_test", "in_label"),
        [
            ("rubric.md", "rubric.md"),
            ("rubric.md", "tests/rubric.md"),
            ("../tests/rubric.md", "./rubric.md"),
            ("tests/rubric.md", "../tests/rubric.md"),
        ],
    )
    def test_are_the_same_however_their_path_is_written(
        self, project: Project, in_test: str, in_label: str
    ) -> None:
        project.write("tests/rubric.md", "It has three words at most.")
        project.tests(
            GRADED.replace("prompts/", "../prompts/").replace("has three words at most", in_test),
            name="tests/test_it.py",
        )
        labels(project, criterion=in_label).rename(project.path / "tests/labels.jsonl")
        options = ("-o", "promptopt_judge_labels=tests/labels.jsonl")
        result = project.run("--promptopt-calibrate", *options)
        assert result.ret == 0
        result.stdout.fnmatch_lines(['"tests/rubric.md": 60 labels of tests/labels.jsonl'])
        result = project.run(GATE, *options)
        result.stdout.fnmatch_lines(['*"tests/rubric.md" is judged by *: certified by labels.jsonl, *'])

    def test_a_rubric_is_the_same_one_from_wherever_it_is_named(self, project: Project) -> None:
        project.write("house/rubric.md", "It has three words at most.\n")
        labels(project, criterion="rubric.md").rename(project.path / "house/labels.jsonl")
        project.tests(GRADED.replace("has three words at most", "house/rubric.md"))
        by = ("-o", "promptopt_judge_labels=house/labels.jsonl")
        assert project.run("--promptopt-calibrate", *by).ret == 0
        result = project.run(GATE, *by)
        assert result.ret == 0
        result.stdout.fnmatch_lines(['*"house/rubric.md" is judged by *: certified by labels.jsonl, *'])

    def test_one_that_is_missing_is_named_with_the_line_of_its_label_before_any_call(
        self, project: Project
    ) -> None:
        project.tests(GRADED)
        labels(project, criterion="rubrics/none.md")
        result = calibrate(project)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            ["*labels.jsonl:1: there is no rubric file 'rubrics/none.md'; looked for*"]
        )
        assert calls(project) == []


class TestWhatItMayDecide:
    @pytest.mark.parametrize(
        "deciding", [(GATE,), ("--optimize", "--promptopt-optimizer-model=house/repeat")]
    )
    def test_untested_it_decides_neither_a_gate_nor_a_rewrite(
        self, project: Project, deciding: tuple[str, ...]
    ) -> None:
        project.tests(GRADED)
        result = project.run(*deciding)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            ['*the judge may not decide about "has three words at most": *promptopt_judge_labels*']
        )
        assert calls(project) == []

    def test_a_plain_check_says_that_it_is_not_tested(self, project: Project) -> None:
        project.tests(GRADED)
        project.run().stdout.fnmatch_lines(
            ['promptopt: "has three words at most" is judged by house/judge with *: not certified: *']
        )

    def test_of_many_criteria_only_the_first_are_told_in_a_line_each(self, project: Project) -> None:
        project.tests(
            """
            @pytest.mark.prompt("prompts/repeat.md")
            def test_it(prompt, judge):
                answer = prompt(word="a")
                for number in range(40):
                    assert judge(answer, f"mentions fewer than {number + 1} facts")
            """
        )
        result = project.run()
        result.stdout.fnmatch_lines(["*further criteria are judged by house/judge with *"])
        assert result.stdout.str().count("judged by house/judge") == 11

    def test_with_a_certificate_it_decides_and_the_report_names_it(self, project: Project) -> None:
        project.tests(GRADED)
        labels(project)
        assert calibrate(project).ret == 0
        result = project.run(GATE, *LABELS)
        assert result.ret == 0
        result.stdout.fnmatch_lines(
            [
                '*"has three words at most" is judged by house/judge with *: certified by labels.jsonl, '
                "60 labels: *"
            ]
        )

    def test_a_panel_decides_only_with_models_that_were_tested(self, project: Project) -> None:
        project.tests(
            """
            import pytest

            @pytest.mark.prompt("prompts/repeat.md")
            @pytest.mark.parametrize("models", [(), ("house/judge",), ("house/judge", "house/other")])
            def test_it(prompt, judge, models):
                assert judge.panel(prompt(word="a"), "has three words at most", models=models, samples=2)
            """
        )
        labels(project)
        assert calibrate(project).ret == 0
        result = project.run(GATE, *LABELS)
        result.assert_outcomes(passed=2, errors=1)
        result.stdout.fnmatch_lines(
            ["*UntestedJudge: *the model has changed from house/judge to house/other*"]
        )
        project.run(GATE, *LABELS, "--promptopt-trust-judge").assert_outcomes(passed=3)

    @pytest.mark.parametrize("bar", ["0.2", "0.9"])
    def test_a_bar_that_it_was_not_tested_at_decides_nothing(self, project: Project, bar: str) -> None:
        project.tests(GRADED.replace("0.7", bar))
        labels(project)
        assert calibrate(project).ret == 0
        asked = len(calls(project))
        result = project.run(GATE, *LABELS)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            [f"*test_it.py:3: the test asks for a score of {bar}, but a judge is tested at 0.7: *"]
        )
        assert len(calls(project)) == asked
        assert project.run(GATE, *LABELS, "--promptopt-trust-judge").ret == 0

    def test_a_trusted_one_decides_and_the_report_says_so(self, project: Project) -> None:
        project.tests(GRADED)
        result = project.run(GATE, "--promptopt-trust-judge")
        assert result.ret == 0
        result.stdout.fnmatch_lines(["*: trusted without a certificate (--promptopt-trust-judge): *"])

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (
                ("--promptopt-judge-model=house/other",),
                "*the model has changed from house/judge to house/other*",
            ),
            (("-o", "promptopt_judge_threshold=0.6"), "*the threshold has changed from 0.7 to 0.6*"),
        ],
    )
    def test_another_judge_needs_a_test_of_its_own(
        self, project: Project, change: tuple[str, ...], said: str
    ) -> None:
        project.tests(GRADED.replace(".score >= 0.7", ""))
        labels(project)
        assert calibrate(project).ret == 0
        result = project.run(GATE, *LABELS, *change)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([said])

    def test_changed_labels_make_it_untested(self, project: Project) -> None:
        project.tests(GRADED)
        labels(project)
        assert calibrate(project).ret == 0
        labels(project, 62)
        result = project.run(GATE, *LABELS)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            ["*labels.jsonl: the labels have changed since the judge was calibrated*"]
        )

    def test_a_criterion_that_is_written_a_little_otherwise_is_named(self, project: Project) -> None:
        project.tests(GRADED.replace("has three words at most", "Has three words at most."))
        labels(project)
        result = project.run(GATE, *LABELS)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            ['*no labelled answer in labels.jsonl is of this criterion; did you mean "has three *']
        )

    def test_a_criterion_that_only_the_run_tells_makes_its_case_an_error(self, project: Project) -> None:
        project.tests(
            """
            @pytest.mark.prompt("prompts/repeat.md")
            def test_it(prompt, judge):
                criterion = " ".join(sorted(["short", "is"]))
                assert judge(prompt(word="a"), criterion)
            """
        )
        result = project.run(GATE)
        result.assert_outcomes(errors=1)
        assert result.ret == 1
        result.stdout.fnmatch_lines(['*UntestedJudge: the judge may not decide about "is short": *'])
        assert len(calls(project)) == 1, "the prompt's own"


#: The house judges by the number that its prompt names, and writes another number when it is to improve.
LOOP = """
import re

def said(request):
    text = request.messages[-1].content
    if "<new_prompt>" in text:
        body = re.search(r"<current_prompt>\\n(.*)\\n</current_prompt>", text, re.DOTALL)[1]
        number = int(re.search(r"pass up to (\\d)", body)[1])
        body = body.replace(f"pass up to {number}", f"pass up to {number - 1}")
        return "<new_prompt>\\n" + body + "\\n</new_prompt>"
    if "<answer>" not in text:
        return text.rpartition(": ")[2].strip()
    most = int(re.search(r"pass up to (\\d)", text)[1])
    answer = re.search(r"<answer>\\n(.*)\\n</answer>", text, re.DOTALL)[1]
    words = len(answer.split())
    return f"REASONS: {words} words, {most} may pass\\nSCORE: {float(words <= most)}"
"""

OWN_PROMPT = """\
Grade by the criterion {{ criterion }}; pass up to 4 words.

<answer>
{{ answer }}
</answer>
"""

AGREES = """
@pytest.mark.prompt("prompts/judge.md")
@pytest.mark.judge_labels("labels.jsonl")
def test_judge(judge, label):
    assert judge.decide(label) == label.expected
"""


class TestItsOwnPrompt:
    @pytest.fixture
    def project(self, pytester: pytest.Pytester) -> Project:
        project = Project(pytester)
        project.append("conftest.py", LOOP)
        project.write("prompts/judge.md", OWN_PROMPT)
        project.ini(
            "promptopt_model = house/repeat",
            "promptopt_judge_model = house/judge",
            "promptopt_optimizer_model = house/writer",
            "promptopt_judge_prompt = prompts/judge.md",
            "promptopt_split = 40/20/40",
        )
        rows = []
        for number in range(90):
            words = 1 + number % 6
            answer = " ".join([f"w{number}"] * words)
            rows.append({"answer": answer, "good": words <= 3, "criterion": "is short"})
        project.write("labels.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        return project

    def test_a_test_with_labels_has_a_case_for_each(self, project: Project) -> None:
        project.tests(AGREES)
        result = project.run()
        result.assert_outcomes(passed=75, failed=15)
        result.stdout.fnmatch_lines(["*AssertionError: assert 'good' == 'bad'", "*bad *good *15"])

    def test_it_is_rewritten_when_held_out_labels_show_it_to_judge_better(self, project: Project) -> None:
        project.tests(AGREES)
        result = project.run("--optimize")
        assert result.ret == 0, result.stdout.str()
        assert "pass up to 3 words" in (project.path / "prompts/judge.md").read_text(encoding="utf-8")

    @pytest.mark.parametrize("path", ["prompts/judge.md", "prompts/../prompts/judge.md"])
    def test_a_few_held_out_labels_do_not_show_it(self, project: Project, path: str) -> None:
        project.ini(
            "promptopt_model = house/repeat",
            "promptopt_judge_model = house/judge",
            "promptopt_optimizer_model = house/writer",
            "promptopt_judge_prompt = prompts/judge.md",
            "promptopt_split = 70/25/5",
        )
        project.tests(AGREES.replace("prompts/judge.md", path))
        result = project.run("--optimize")
        assert "pass up to 4 words" in (project.path / "prompts/judge.md").read_text(encoding="utf-8")
        result.stdout.fnmatch_lines(["*neither precision nor*"])

    def test_it_stays_while_it_judges_others(self, project: Project) -> None:
        project.tests(AGREES + GRADED)
        result = project.run("--optimize", "--promptopt-trust-judge", "--promptopt-max-iterations=1")
        assert (project.path / "prompts/judge.md").read_text(encoding="utf-8") == OWN_PROMPT
        assert "prompts/judge.md:" not in result.stdout.str().partition("prompt optimization")[2]

    @pytest.mark.parametrize("written", ["prompts/judge.md", "prompts/../prompts/judge.md", "linked.md"])
    def test_as_a_stage_of_a_pipeline_it_needs_a_certificate_and_stays(
        self, project: Project, written: str
    ) -> None:
        project.ini(
            "promptopt_model = house/repeat",
            "promptopt_judge_model = house/judge",
            "promptopt_optimizer_model = house/writer",
            f"promptopt_judge_prompt = {written}",
        )
        (project.path / "linked.md").symlink_to(project.path / "prompts/judge.md")
        conftest = project.path / "conftest.py"
        kind = conftest.read_text(encoding="utf-8").replace("{number - 1}", "{number + 5}")
        conftest.write_text(kind, encoding="utf-8")
        project.tests(
            """
            @pytest.mark.prompt(write="prompts/repeat.md", grade="prompts/judge.md")
            @pytest.mark.parametrize("word", [f"a b c d e {number}" for number in range(30)])
            def test_it(prompts, judge, word):
                assert judge(prompts["write"](word=word), "is short")
            """
        )
        result = project.run("--optimize")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["*the judge may not decide about *is short*"])
        project.run("--optimize", "--promptopt-trust-judge", "--promptopt-max-iterations=1")
        assert (project.path / "prompts/judge.md").read_text(encoding="utf-8") == OWN_PROMPT

    def test_as_a_constant_it_stays_while_it_judges_others_too(self, project: Project) -> None:
        project.ini(
            "promptopt_model = house/repeat",
            "promptopt_judge_model = house/judge",
            "promptopt_optimizer_model = house/writer",
            "promptopt_judge_prompt = house.py::JUDGE",
        )
        constant = f"JUDGE = {OWN_PROMPT!r}\n"
        project.write("house.py", constant)
        project.tests(AGREES.replace("prompts/judge.md", "house.py::JUDGE") + GRADED)
        result = project.run("--optimize", "--promptopt-trust-judge", "--promptopt-max-iterations=1")
        assert "prompts/repeat.md: " in result.stdout.str()
        assert (project.path / "house.py").read_text(encoding="utf-8") == constant

    def test_a_label_added_above_moves_no_other_to_another_split(self, project: Project) -> None:
        project.tests(AGREES)
        path = project.path / "labels.jsonl"

        def heldout() -> set[str]:
            report = project.path / "report.json"
            project.run(f"--promptopt-report={report}")
            cases = json.loads(report.read_text(encoding="utf-8"))["prompts"][0]["results"]
            return {case["id"] for case in cases if case["split"] == "heldout"}

        before = heldout()
        first = '{"answer": "another", "good": true, "criterion": "is short"}\n'
        path.write_text(first + path.read_text(encoding="utf-8"), encoding="utf-8")
        after = heldout()
        assert before
        assert before <= after
        assert len(after - before) <= 1

    def test_labels_that_its_optimization_sees_do_not_certify_it(self, project: Project) -> None:
        project.tests(AGREES)
        result = project.run("--promptopt-calibrate")
        assert result.ret == 1
        result.stdout.fnmatch_lines(
            [
                '"is short": 44 labels of labels.jsonl',
                "*not certified: 44 labels, at least 50 are needed: 6 more would do",
                "*46 labels of train and validation left out: an optimization of the judge's prompt sees*",
            ]
        )


class TestAJudgeThatIsLost:
    @pytest.mark.parametrize("workers", [0, 2])
    def test_ends_the_search_where_every_case_asks_it(self, project: Project, workers: int) -> None:
        lost = """
def refuse(request):
    if "<criterion>" in request.messages[-1].content:
        raise ModelError(ErrorKind.AUTHENTICATION, "the key is wrong", model=request.model)
    return judged(request)

judged, said = said, refuse
"""
        project.append("conftest.py", lost)
        project.tests(
            """
            @pytest.mark.prompt("prompts/repeat.md", samples=10)
            @pytest.mark.parametrize("word", [f"a b c d e {number}" for number in range(30)])
            def test_it(prompt, judge, word):
                assert judge(prompt(word=word), "is short")
            """
        )
        result = project.run(
            "--optimize",
            "--promptopt-trust-judge",
            "--promptopt-optimizer-model=house/repeat",
            "--promptopt-concurrency=4",
            workers=workers,
        )
        assert result.ret == 1
        result.stdout.fnmatch_lines(["*stopped: *refused by the provider: the key is wrong*"])


#: Under "Short." what was short becomes unjudgeable, and what was long becomes short.
SPEECHLESS = """
judged = said

def said(request):
    text = request.messages[-1].content
    if request.model == "house/writer":
        body = re.search(r"<current_prompt>\\n(.*)\\n</current_prompt>", text, re.DOTALL)[1]
        return "<new_prompt>\\nShort. " + body + "\\n</new_prompt>"
    answer = judged(request)
    if "<criterion>" in text or not text.startswith("Short."):
        return answer
    return " ".join(answer.split()[-1:]) if answer.startswith("long") else "boom " + answer
"""


class TestAnswersWithoutAVerdict:
    def test_that_a_new_text_leads_to_keep_it_from_being_written(self, project: Project) -> None:
        project.append("conftest.py", SPEECHLESS)
        project.ini(
            "promptopt_model = house/repeat", "promptopt_judge_model = house/judge",
            "promptopt_optimizer_model = house/writer", "promptopt_split = 40/20/40",
        )  # fmt: skip
        project.tests(
            """
            WORDS = [f"ok{n}" for n in range(30)] + [f"long a b c d e {n}" for n in range(60)]

            @pytest.mark.prompt("prompts/repeat.md")
            @pytest.mark.parametrize("word", WORDS)
            def test_it(prompt, judge, word):
                assert judge(prompt(word=word), "is short").score >= 0.7
            """
        )
        result = project.run("--optimize", "--promptopt-trust-judge", "--promptopt-max-iterations=1")
        result.stdout.fnmatch_lines(
            ["*not written: there is no verdict on the new answers of 30 cases that had one before"]
        )
        assert (project.path / "prompts/repeat.md").read_text(encoding="utf-8") == "Repeat: {{ word }}\n"


class TestOverWorkers:
    def test_workers_judge_as_one_process_does(self, project: Project) -> None:
        project.tests(GRADED)
        result = project.run(workers=2)
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.fnmatch_lines(
            ["*criterion not met: 1 case*", "6 model calls, 0 of them from the cache; *"]
        )
        told = [line for line in result.outlines if "is judged by house/judge" in line]
        assert len(told) == 1

    @pytest.mark.parametrize("workers", [0, 2])
    def test_an_optimization_pays_for_verdicts_on_an_account_of_their_own(
        self, project: Project, workers: int
    ) -> None:
        project.tests(GRADED)
        result = project.run(
            "--optimize-dry-run",
            "--promptopt-trust-judge",
            "--promptopt-optimizer-model=house/repeat",
            "--promptopt-max-iterations=1",
            workers=workers,
        )
        result.stdout.fnmatch_lines(["spend *", "target *", "optimizer *", "judge *", "total *"])
        asked = [json.loads(line)["messages"][-1][1] for line in calls(project)]
        assert len([text for text in asked if "<criterion>" in text]) == 3

    def test_untested_it_decides_nothing_over_workers_either(self, project: Project) -> None:
        project.tests(GRADED)
        result = project.run("--optimize", "--promptopt-optimizer-model=house/repeat", workers=2)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert "the judge may not decide" in result.stdout.str() + result.stderr.str()
        assert calls(project) == []
        result = project.run(GATE, workers=2)
        assert result.ret == 1
        result.stdout.fnmatch_lines(["*UntestedJudge: the judge may not decide*"])


class TestCeilings:
    def test_a_judge_is_asked_only_while_calls_are_left(self, project: Project) -> None:
        project.tests(GRADED)
        result = project.run("--promptopt-max-calls=4")
        assert len(calls(project)) == 4
        outcomes = result.parseoutcomes()
        # Which calls come first is chance: two cases have both of theirs, or one has and two lack verdicts.
        assert outcomes["errors"] in (1, 2)
        assert outcomes["errors"] + outcomes.get("passed", 0) + outcomes.get("failed", 0) == 3
        result.stdout.fnmatch_lines(["*the ceiling of 4 calls is reached (--promptopt-max-calls)"])

    def test_the_calls_of_a_test_of_the_judge_are_held_under_it_as_well(self, project: Project) -> None:
        project.tests(GRADED)
        labels(project)
        result = calibrate(project, "--promptopt-max-calls=30")
        assert result.ret == 1
        assert len(calls(project)) == 30
        assert not (project.path / "labels.certificate.json").exists()


class TestReport:
    def test_verdicts_and_who_gave_them_stand_in_the_json(self, project: Project) -> None:
        project.tests(GRADED)
        project.run("--promptopt-report=report.json")
        report = json.loads((project.path / "report.json").read_text(encoding="utf-8"))
        poor = report["prompts"][0]["results"][2]
        (verdict,) = poor["verdicts"]
        assert (poor["status"], poor["rate"], verdict["score"]) == ("failed", 0.25, 0.25)
        assert verdict["issues"][0] == "the word 'four' is too much"
        assert verdict["suggestions"] == [
            {"text": "use three words at most", "category": "length", "impact": "high"}
        ]
        assert (verdict["criterion"], verdict["model"]) == ("has three words at most", "house/judge")
        assert any("is judged by house/judge with" in note for note in report["notes"])

    def test_a_gain_that_only_the_judge_sees_comes_with_a_warning_where_answers_got_longer(
        self, project: Project
    ) -> None:
        likes_length = """
def said(request):
    text = request.messages[-1].content
    if "<new_prompt>" in text:
        return "<new_prompt>\\nAt length: {{ word }}\\n</new_prompt>"
    if "<criterion>" in text:
        words = re.search(r"<answer>\\n(.*)\\n</answer>", text, re.DOTALL)[1].split()
        return f"REASONS: by length\\nSCORE: {min(1.0, len(words) / 6)}"
    word = text.rpartition(": ")[2]
    return " ".join([word] * 6) if "At length" in text else word
"""
        project.append("conftest.py", likes_length)
        project.tests(
            """
            WORDS = [f"w{number}" for number in range(20)]
            HELDOUT = [pytest.param(f"h{number}", marks=pytest.mark.heldout) for number in range(10)]

            @pytest.mark.prompt("prompts/repeat.md")
            @pytest.mark.parametrize("word", [*WORDS, *HELDOUT])
            def test_it(prompt, judge, word):
                assert judge(prompt(word=word), "is clear")
            """
        )
        result = project.run(
            "--optimize-dry-run", "--promptopt-trust-judge", "--promptopt-optimizer-model=house/writer"
        )
        result.stdout.fnmatch_lines(
            [
                "prompts/repeat.md: improved, not written: dry run",
                "  warning:  answers got longer (1 to 6 words*",
            ]
        )
        result.stdout.fnmatch_lines(['promptopt: "is clear" is judged by house/judge with *: trusted *'])


class TestSecrecy:
    def test_nothing_that_was_said_of_other_than_training_answers_reaches_the_optimizer(
        self, project: Project
    ) -> None:
        """The judge repeats the answer in its issues and suggestions; of each split it is another word."""
        repeats = """
def said(request):
    text = request.messages[-1].content
    if "<new_prompt>" in text or "<critique>" in text:
        return "<new_prompt>\\nSay it: {{ word }}\\n</new_prompt>"
    if "<criterion>" in text:
        answer = re.search(r"<answer>\\n(.*)\\n</answer>", text, re.DOTALL)[1]
        return f"REASONS: {answer}\\nISSUE: {answer} is vague\\nSUGGESTION: not {answer}\\nSCORE: 0.2"
    return text.rpartition(": ")[2]
"""
        project.append("conftest.py", repeats)
        project.tests(
            """
            CASES = [
                *(f"openly{number}" for number in range(6)),
                *(pytest.param(f"closedly{n}", marks=pytest.mark.validation) for n in range(4)),
                *(pytest.param(f"hiddenly{n}", marks=pytest.mark.heldout) for n in range(4)),
            ]

            @pytest.mark.prompt("prompts/repeat.md")
            @pytest.mark.parametrize("word", CASES)
            def test_it(prompt, judge, word):
                assert judge(prompt(word=word), "is clear")
            """
        )
        project.run(
            "--optimize",
            "--promptopt-trust-judge",
            "--promptopt-critique=on",
            "--promptopt-optimizer-model=house/writer",
            "--promptopt-max-iterations=3",
        )
        asked = [json.loads(line) for line in calls(project)]
        requests = " ".join(str(each["messages"]) for each in asked if each["model"] == "house/writer")
        assert "openly0 is vague" in requests
        assert "closedly" not in requests
        assert "hiddenly" not in requests
